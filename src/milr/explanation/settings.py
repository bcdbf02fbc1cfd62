"""Every choice that the method leaves open, with its default (docs/method.md says why). No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from milr.errors import MilrError
from milr.fields import check, setting


@dataclass
class InfomaxSettings:
    """The estimator of the total information: InfoNCE, a lower bound (paper, section 3.4.1 and eq. 2 and 3).

    A map's mean cannot exceed log2((`bank_size` + N) / N) bits, of N places an image: `Maps.cap`.

    Example:
        >>> import milr
        >>> settings = milr.MilrSettings(infomax=milr.InfomaxSettings(bank_size=4096))
        >>> settings.infomax.bank_size, settings.infomax.dimension
        (4096, 64)
    """

    width: int = setting(128, "hidden channels of the critic's local network; 0: one layer", low=0)
    dimension: int = setting(64, "dimensions in which local features and representation meet", low=1)
    bank_size: int = setting(16384, "locations of training images in a map's denominator", low=1)
    queue_size: int = setting(16384, "locations of earlier batches in the fit's denominator", low=0)
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

    alpha: float = setting(1.0, "weight of the information kept in z' (eq. 10)", low=0)
    beta: float = setting(0.01, "weight of the mean decision-related nats per location (eq. 10)", low=0)
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
        >>> settings = milr.MilrSettings(beta=0.03, mask=milr.MaskSettings(fill="zero"))
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
class FitSteps:
    """How long and how fast the MI-LR module is fitted."""

    steps: int = setting(250, "optimiser steps, one episode each", low=1)
    learning_rate: float = setting(
        1e-3, "of Adam, falling to zero along a cosine", low=0, never={0: "nothing would be fitted"}
    )
    beta_warmup: float = setting(
        0.5,
        "share of the steps over which beta rises from 0: at full weight at once, the mask can die",
        low=0,
        high=1,
    )
    validate_every: int = setting(50, "steps between looks at the validation classes", low=1)
    patience: int = setting(0, "looks without a better objective before the fit stops; 0: never", low=0)


@dataclass
class FitSettings(FitSteps):
    """How the MI-LR module is fitted: by Adam, its rate falling to zero along a cosine.

    Raises:
        MilrError: by `fit`, for a value with which no fit can be made.

    Example:
        >>> import milr
        >>> milr.FitSettings(steps=400, patience=3).validate_every  # steps between looks at the validation batches
        50
    """

    seed: int = setting(0, "of the noise and of the locations that are drawn")


def settings_from_state(values: dict[str, Any]) -> MilrSettings:
    """The settings that `asdict` wrote; MilrError for others."""
    groups = {"infomax": InfomaxSettings, "mask": MaskSettings, "bottleneck": BottleneckSettings}
    try:
        return MilrSettings(**{k: groups[k](**v) if k in groups else v for k, v in values.items()})
    except (AttributeError, TypeError) as error:
        raise MilrError(f"these are not the settings of this version's MILR.state(): {error}") from None


def check_settings(settings: MilrSettings) -> None:
    """MilrError for a value that is no choice, out of range, or does not go with another."""
    check(settings)
    if settings.mask.fill == "zero" and settings.bottleneck.kind == "capacity":
        raise MilrError(
            "the capacity bound holds for noise fill only: set mask.fill=noise, or bottleneck.kind=variational"
        )
