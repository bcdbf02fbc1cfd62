"""The small modules that are fitted, and the reference bank's projection by their critic."""

from __future__ import annotations

import logging
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.explanation.bottlenecks import BOTTLENECKS, Bound
from milr.explanation.features import Features, FeatureStore
from milr.explanation.settings import InfomaxSettings, MilrSettings
from milr.fields import pick
from milr.information.critic import Critic, CriticShape
from milr.information.critics import AnyCritic, Critics
from milr.information.estimators import ESTIMATORS
from milr.information.mask import MaskModule
from milr.information.readings import ProjectedBank
from milr.information.statistics import ChannelStatistics, Standardise
from milr.networks.inputs import Inputs
from milr.networks.layers import LayerPair
from milr.seeding import seeded

log = logging.getLogger("milr")

ALIKE = 1e-6  # of the largest value: what rounding makes of one representation
FAR = 10.0  # standard deviations from the mean of the training images, where these are 1 from it


class ReferenceBank(nn.Module):
    """Training images that every map is compared with. Standardised, in half precision: it is most of a saved module.

    Attributes:
        local: x at all N places of M images [M, N, C].
        occluded: x' of M images, what their masks let pass [M, N, C]; before a mask is fitted the same as `local`.
        representation: z of R images [R, D].
    """

    local: Tensor
    occluded: Tensor
    representation: Tensor

    def __init__(self, local: Tensor, representation: Tensor) -> None:
        super().__init__()
        self.register_buffer("local", local)
        self.register_buffer("occluded", local.clone())
        self.register_buffer("representation", representation)


class Modules(nn.Module):
    """The three small modules of the paper's figure 1 with what they need from the training images."""

    def __init__(
        self,
        settings: MilrSettings,
        grid: tuple[int, int],
        local: Standardise,
        representation: Standardise,
        stages: list[Standardise],
        bottleneck: Bound,
        bank: ReferenceBank,
    ) -> None:
        super().__init__()
        channels = local.mean.numel()
        infomax = settings.infomax
        self.local = local
        self.critic = critic_of(infomax, local, representation, grid)
        masks = 1 if settings.mask.shared else channels
        self.mask = MaskModule(stages, masks, settings.mask.width, settings.mask.initial, settings.mask.blur)
        self.bottleneck = bottleneck
        self.to(torch.float32)  # whatever torch.set_default_dtype says; the bank stays in half precision
        self.bank = bank


def critic_of(
    infomax: InfomaxSettings, local: Standardise, representation: Standardise, grid: tuple[int, int]
) -> AnyCritic:
    """A critic as the settings want it, or several, not fitted."""
    shape = pick(CriticShape, infomax, second=ESTIMATORS[infomax.estimator].second)
    members = [Critic(local, representation, grid, shape) for _ in range(infomax.critics)]
    return members[0] if len(members) == 1 else Critics(members)


def new_modules(
    settings: MilrSettings, layers: LayerPair, batches: Iterable[Inputs], images: int, seed: int
) -> tuple[Modules, Features]:
    """The small modules, not fitted, from `images` training images in batches [K, 3, S, S], and these images' features.

    MilrError for features that are not finite, and for representations that cannot be whitened where that is wanted.
    """
    generator = torch.Generator().manual_seed(seed)
    names = (layers.local, layers.z, *layers.stages)
    statistics = [ChannelStatistics() for _ in names]
    infomax = settings.infomax
    store = FeatureStore(layers, images, infomax.memory_gib, infomax.disk_gib, seed)
    order = torch.randperm(images, generator=generator)
    chosen = set(order[: infomax.bank_images].tolist())
    bank: list[Tensor] = []
    for batch in batches:
        first = layers.first_pass(batch)
        if not store.filled:
            layers.largest_checked = 1  # these images are others
        layers.check_larger(batch, first)
        for counted, values in zip(statistics, (first.local, first.representation, *first.stages), strict=True):
            counted.add(values)
        rows = [row for row in range(len(first.local)) if store.filled + row in chosen]
        bank.append(first.local[rows].flatten(2).transpose(1, 2))
        store.add(first)
    scales = [counted.standardise() for counted in statistics]
    for name, scale in zip(names, scales, strict=True):
        if not torch.isfinite(scale.mean).all():
            raise MilrError(f"layer '{name}' gives nan or inf for the training images: the network is damaged")
    features = store.features()
    require_difference(features.representation, layers.z)
    device = scales[0].mean.device
    local, representation, *stages = scales
    others = features.representation[order[: infomax.bank_representations]].to(device)
    reference = ReferenceBank(
        in_half(local(torch.cat(bank).transpose(1, 2)).transpose(1, 2)), in_half(representation(others))
    )
    with seeded(seed):  # their first weights
        build = BOTTLENECKS[settings.bottleneck.kind].build
        bottleneck = build(settings.bottleneck, local, features.representation.to(device))
        modules = Modules(settings, layers.grid, local, representation, stages, bottleneck, reference)
    return modules.to(device), features


def require_difference(representation: Tensor, name: str) -> None:
    """MilrError where all training images have one representation [n, D], which then knows nothing of any place."""
    if (representation - representation[:1]).abs().max() <= ALIKE * representation.abs().max():
        raise MilrError(
            f"layer '{name}' gives the same for every image of the {len(representation)} that prepare was given: give "
            "different ones, scaled and normalised as the network was trained"
        )


def warn_of_far(modules: Modules, local: Tensor, name: str) -> None:
    """A warning where local features [K, C, H, W] are far from all that `prepare` saw: of images scaled otherwise."""
    away = modules.local(local).square().flatten(1).mean(1).sqrt()
    if float(away.max()) > FAR:
        log.warning(
            "image %d is far from those of prepare: its features at '%s' are %.0f standard deviations from theirs, on "
            "average, where 1 is usual; are the images scaled and normalised alike?",
            *(int(away.argmax()), name, float(away.max())),
        )


def in_half(standardised: Tensor) -> Tensor:
    """Float16 without infinities."""
    return standardised.clamp(-65504, 65504).half()


class BankProjection:
    """The bank as the critic projects it, made anew whenever the critic or the bank are not what they were.

    They are compared value by value: versions and addresses of tensors do not tell of every change.
    """

    def __init__(self) -> None:
        self._latest: tuple[list[Tensor], ProjectedBank, ProjectedBank] | None = None

    @torch.no_grad()
    def of(self, modules: Modules) -> tuple[ProjectedBank, ProjectedBank]:
        """The bank of untouched images, and that of what their masks let pass, by the critic as it is now."""
        sources = [*modules.bank.state_dict().values(), *modules.critic.state_dict().values()]
        latest = self._latest  # one read: another thread may put its own there
        if latest is None or not _all_equal(latest[0], sources):
            copies = [source.detach().clone() for source in sources]
            critic, bank = modules.critic, modules.bank
            z = critic.project_standardised_representation(bank.representation.float())
            untouched, passed = (
                ProjectedBank(torch.cat([critic.project_standardised(part.float()) for part in local.split(16)]), z)
                for local in (bank.local, bank.occluded)
            )
            self._latest = latest = copies, untouched, passed
        return latest[1], latest[2]


def _all_equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(
        (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device) and torch.equal(a, b)
        for a, b in zip(one, other, strict=True)
    )
