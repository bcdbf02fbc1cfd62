"""Every choice that the method leaves open, with its default (docs/method.md says why). No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from milr.errors import MilrError
from milr.fields import check, setting


@dataclass
class InfomaxSettings:
    """The estimator of the total information: a critic, what it is compared with, and how a map reads it.

    InfoNCE is a lower bound (paper, section 3.4.1 and eq. 2 and 3). A map's mean cannot exceed log2(1 + `bank_images`)
    or log2(1 + `bank_representations`) bits, by its reading: `Maps.cap`.

    Example:
        >>> import milr
        >>> settings = milr.MilrSettings(infomax=milr.InfomaxSettings(map="sample", denominator="places"))
        >>> settings.infomax.place, settings.infomax.dimension
        (True, 64)
    """

    estimator: str = setting(
        "infonce",
        "what the critic is fitted by: infonce, nwj, jsd and flo are lower bounds; smile and mine are none",
        choices=("infonce", "nwj", "smile", "mine", "jsd", "flo"),
    )
    denominator: str = setting(
        "representations",
        "what a pair is compared with: places (eq. 3: all of all images) | same_place (of the other images) | "
        "representations (of the other images)",
        choices=("places", "same_place", "representations"),
    )
    map: str = setting(
        "representation",
        "eq. 1 as a map: sample (one log-ratio) | place: KL(p(x_i|z), p(x_i)) | representation: KL(p(z|x_i), p(z))",
        choices=("sample", "place", "representation"),
    )
    place: bool = setting(True, "tell the critic the place: eq. 1 is about x_i at a given i")
    place_table: bool = setting(True, "and by a learned row of its own for each place, which scales hidden units too")
    width: int = setting(128, "hidden units of the critic's local network; 0: one layer", low=0)
    dimension: int = setting(64, "dimensions in which local features and representation meet", low=1)
    critics: int = setting(
        1, "fitted side by side, their scores' mean read: more bits, steadier maps, more time", low=1, high=100
    )
    representation_width: int = setting(
        0, "hidden units of the critic's network of the representation, beside a linear map; 0: none", low=0
    )
    dropout: float = setting(0.1, "share of the representation that the critic's fit leaves out", low=0, high=0.9)
    bank_images: int = setting(64, "training images whose places a map is compared with", low=1)
    bank_representations: int = setting(
        2048, "training images whose representations a map is compared with: of few, the map depends on which", low=1
    )
    memory_gib: float = setting(2.0, "training images' features in memory; past it they lie in a file", low=0)
    disk_gib: float = setting(32.0, "the largest such file: of more features a sample of the places", low=0.001)
    shape_mask: bool = setting(True, "let alpha's term reach the mask through z' (false: the literal eq. 10)")


@dataclass
class MaskSettings:
    """The mask module: a readout that says how much of each feature stays (paper, section 3.4.2; Schulz et al. 2020).

    Example:
        >>> import milr
        >>> settings = milr.MilrSettings(mask=milr.MaskSettings(shared=True, stages=["layer1", "layer3"]))
        >>> settings.mask.fill, settings.mask.blur  # sigma in places of the local layer
        ('noise', 1.0)
    """

    fill: str = setting("noise", "what takes the place of what is removed: noise | zero", choices=("noise", "zero"))
    width: int = setting(64, "channels of the readout", low=1)
    shared: bool = setting(False, "true: one mask for all channels of a place; false: one for each channel")
    initial: float = setting(0.9, "the mask before fitting", low=0.001, high=0.999)
    blur: float = setting(
        1.0,
        "sigma, in places of the local layer, of a Gaussian over the scores behind the mask; 0: none",
        low=0,
        high=100,
    )
    stages: list[str] = setting([], "layers to read from; empty: the network's blocks")


@dataclass
class BottleneckSettings:
    """The upper bound behind the decision-related map (paper, eq. 8).

    "capacity" needs no fit and holds for `mask.fill="noise"`; "variational" is the paper's own, with mu and sigma.

    Example:
        >>> import milr
        >>> milr.MilrSettings(bottleneck=milr.BottleneckSettings(kind="variational")).bottleneck.fit
        'likelihood'
    """

    kind: str = setting(
        "capacity",
        "capacity: in closed form, needs mask.fill=noise | variational",
        choices=("capacity", "variational"),
    )
    fit: str = setting(
        "likelihood",
        "likelihood | objective: the literal reading, which collapses (variational only)",
        choices=("likelihood", "objective"),
    )
    width: int = setting(128, "hidden channels of mu and sigma (variational only)", low=1)
    whitening_share: float = setting(
        0.9, "share of the representation's variance that whitening keeps (variational only)", low=0.01, high=1
    )


@dataclass
class ObjectiveSettings:
    """The weights of eq. 10, and the reading of eq. 9."""

    alpha: float = setting(0.1, "weight of the information kept in z' (eq. 10); 1 can hold the mask open", low=0)
    beta: float = setting(3.0, "weight of the mean decision-related nats per location and channel (eq. 10)", low=0)
    gamma: float = setting(
        0.0, "weight of the complement: that the mask turned over decides no better than noise alone", low=0
    )
    redundancy: str = setting(
        "occluded",
        "occluded: i(x; z) - i(x'; z) | representation: i(x; z) - i(x; z'), eq. 9 as it stands",
        choices=("representation", "occluded"),
    )


@dataclass
class MilrSettings(ObjectiveSettings):
    """All of the MI-LR module: the weights of eq. 10, the reading of eq. 9, and its three parts.

    docs/method.md says of each choice why it is the default. `MILR` checks them.

    Raises:
        MilrError: by `MILR`, for a value that is no choice, out of range, or does not go with another.

    Example:
        >>> import milr, torch, torchvision
        >>> network, images = torchvision.models.resnet18(), torch.randn(2, 3, 32, 32)
        >>> settings = milr.MilrSettings(beta=3, mask=milr.MaskSettings(fill="zero"))
        >>> try:
        ...     milr.MILR(network, "layer1", "avgpool", example=images, settings=settings)
        ... except milr.MilrError as error:
        ...     print(error)
        the capacity bound holds for noise fill only: set mask.fill=noise, or bottleneck.kind=variational
    """

    infomax: InfomaxSettings = field(default_factory=InfomaxSettings)
    mask: MaskSettings = field(default_factory=MaskSettings)
    bottleneck: BottleneckSettings = field(default_factory=BottleneckSettings)


@dataclass
class CriticSettings:
    """How the critic is fitted, alone, on features that are computed once.

    Example:
        >>> import milr
        >>> milr.FitSettings(steps=300, critic=milr.CriticSettings(patience=5)).critic.weight_decay
        0.3
    """

    steps: int = setting(10_000, "optimiser steps at most; it stops when the held-out bits have stalled", low=1)
    images: int = setting(64, "images of a step: the bound of a step cannot exceed their log2", low=2)
    places: int = setting(64, "places of each image in a step, drawn anew", low=1)
    learning_rate: float = setting(
        3e-3, "of AdamW; it falls when the held-out bits have stalled", low=0, never={0: "nothing would be fitted"}
    )
    weight_decay: float = setting(0.3, "of AdamW", low=0)
    validate_every: int = setting(100, "steps between estimates on the held-out images", low=1)
    patience: int = setting(6, "estimates without more bits that count as stalled; 0: never", low=0)
    decays: int = setting(2, "times that it goes on from the best state at a lower rate before it stops", low=0)
    pairs: bool = setting(True, "fit it to what the mask lets pass too, after the mask's fit")


@dataclass
class FitSteps:
    """How long and how fast the mask is fitted."""

    steps: int = setting(
        1000, "optimiser steps of the mask at most, one episode each; it stops when the objective has stalled", low=1
    )
    learning_rate: float = setting(
        2e-3, "of Adam; it falls when the objective has stalled", low=0, never={0: "nothing would be fitted"}
    )
    beta_warmup: int = setting(
        100,
        "steps over which beta rises from 0, at most half of the steps: at full weight at once, the mask can die",
        low=0,
    )
    winograd: bool = setting(True, "on a CPU: compute wide 3x3 convolutions with fewer products (docs/performance.md)")
    validate_every: int = setting(25, "steps between validations", low=1)
    patience: int = setting(4, "validations without a better objective that count as stalled; 0: never", low=0)
    decays: int = setting(2, "times that it goes on from the best state at a lower rate before it stops", low=0)


@dataclass
class FitSettings(FitSteps):
    """How the MI-LR module is fitted: the critic until its bits have stalled, then the mask by Adam.

    Raises:
        MilrError: by `fit`, for a value with which no fit can be made.

    Example:
        >>> import milr
        >>> milr.FitSettings(steps=400, patience=3).validate_every  # steps between validations
        25
    """

    seed: int = setting(0, "of the noise and of what is drawn", low=-(2**63), high=2**63 - 1)
    critic: CriticSettings = field(default_factory=CriticSettings)


def settings_from_state(values: dict[str, Any]) -> MilrSettings:
    """The settings that `asdict` wrote; MilrError for others."""
    groups = {"infomax": InfomaxSettings, "mask": MaskSettings, "bottleneck": BottleneckSettings}
    try:
        return MilrSettings(**{k: groups[k](**v) if k in groups else v for k, v in values.items()})
    except (AttributeError, TypeError) as error:
        raise MilrError(f"these are not the settings of this version's MILR.state(): {error}") from None


def check_settings(settings: MilrSettings) -> None:
    """MilrError for a value that is no choice, out of range, or does not go with another."""
    if not isinstance(settings, MilrSettings):
        raise MilrError(f"MILR(..., settings=...): settings are milr.MilrSettings, not a {type(settings).__name__}")
    check(settings)
    wanted = {"place": ("places", "same_place"), "representation": ("representations",)}.get(settings.infomax.map)
    if wanted and settings.infomax.denominator not in wanted:
        raise MilrError(
            f"infomax.map={settings.infomax.map} cannot be read from a critic that is fitted with "
            f"infomax.denominator={settings.infomax.denominator} (docs/method.md): set "
            f"infomax.denominator={' or '.join(wanted)}, or infomax.map=sample"
        )
    if settings.mask.fill == "zero" and settings.bottleneck.kind == "capacity":
        raise MilrError(
            "the capacity bound holds for noise fill only: set mask.fill=noise, or bottleneck.kind=variational"
        )
