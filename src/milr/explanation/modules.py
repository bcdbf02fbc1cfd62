"""The small modules that are fitted, and the reference bank's projection by their critic."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.explanation.settings import MilrSettings
from milr.information.bottleneck import VariationalBottleneck
from milr.information.infomax import Critic
from milr.information.mask import MaskModule
from milr.information.statistics import ChannelStatistics, Standardise
from milr.information.whitening import Whitening, fit_whitening
from milr.networks.layers import LayerPair
from milr.seeding import seeded

BANK_PART = 1 << 16  # locations of the bank that are projected at once: bounds the memory


class Modules(nn.Module):
    """The three small modules of the paper's figure 1 with what they need from the training images."""

    bank: Tensor

    def __init__(
        self,
        settings: MilrSettings,
        local: Standardise,
        representation: Standardise,
        stages: list[Standardise],
        whitening: Whitening | None,
        bank: Tensor,
    ) -> None:
        super().__init__()
        channels = local.mean.numel()
        self.local = local
        self.critic = Critic(local, representation, settings.infomax.width, settings.infomax.dimension)
        masks = 1 if settings.mask.shared else channels
        self.mask = MaskModule(stages, masks, settings.mask.width, settings.mask.initial, settings.mask.blur)
        self.whitening = whitening
        self.bottleneck = (
            VariationalBottleneck(local, whitening.projection.shape[1], settings.bottleneck.width)
            if whitening is not None
            else None
        )
        self.register_buffer("bank", bank)  # [M, C], local features of training images


def new_modules(
    settings: MilrSettings, layers: LayerPair, batches: Iterable[Tensor], images: int, seed: int
) -> Modules:
    """The small modules, not fitted, with what they need from `images` training images in batches [K, 3, S, S].

    MilrError for features that are not finite, and for representations that cannot be whitened where that is wanted.
    """
    generator = torch.Generator().manual_seed(seed)
    names = (layers.local, layers.global_, *layers.stages)
    statistics = [ChannelStatistics() for _ in names]
    representations, bank = [], []  # the former for the whitening alone
    variational = settings.bottleneck.kind == "variational"
    _, height, width = layers.local_shape
    each = max(1, min(height * width, settings.infomax.bank_size // images))
    for batch in batches:
        first = layers.first_pass(batch)
        for counted, features in zip(statistics, (first.local, first.representation, *first.stages), strict=True):
            counted.add(features)
        if variational:
            representations.append(first.representation)
        bank.append(sample_locations(first.local, each, generator))
    scales = [counted.standardise() for counted in statistics]
    for name, scale in zip(names, scales, strict=True):
        if not torch.isfinite(scale.mean).all():
            raise MilrError(f"layer '{name}' gives nan or inf for the training images: the network is damaged")
    share = settings.bottleneck.whitening_share
    try:
        whitening = fit_whitening(torch.cat(representations), share) if variational else None
    except ValueError as error:
        raise MilrError(f"bottleneck.kind=variational, bottleneck.whitening_share={share}: {error}") from None
    local, representation, *stages = scales
    with seeded(seed):  # their first weights
        modules = Modules(settings, local, representation, stages, whitening, torch.cat(bank)).to(bank[0].device)
    return modules.to(torch.float32)  # whatever torch.set_default_dtype says


def sample_locations(local: Tensor, each: int, generator: torch.Generator) -> Tensor:
    """`each` randomly chosen locations of every image: [K, C, H, W] -> [K·each, C]."""
    images, channels = local.shape[:2]
    flat = local.flatten(2)
    order = torch.rand(images, flat.shape[2], generator=generator, device=generator.device)
    chosen = order.topk(each, dim=1).indices.to(local.device)
    return flat.gather(2, chosen[:, None].expand(-1, channels, -1)).transpose(1, 2).flatten(0, 1)


class ProjectedBank:
    """The bank as the critic projects it [M, p], made anew whenever the critic or the bank are not what they were.

    They are compared value by value: versions and addresses of tensors do not tell of every change.
    """

    def __init__(self) -> None:
        self._latest: tuple[list[Tensor], Tensor] | None = None

    @torch.no_grad()
    def of(self, modules: Modules) -> Tensor:
        """The projection by these modules' critic as it is now."""
        sources = [modules.bank, *modules.critic.local.state_dict().values()]
        latest = self._latest  # one read: another thread may put its own there
        if latest is None or not _all_equal(latest[0], sources):
            copies = [source.detach().clone() for source in sources]
            parts = [modules.critic.project_locations(part) for part in modules.bank.split(BANK_PART)]
            self._latest = latest = copies, torch.cat(parts)
        return latest[1]


def _all_equal(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(
        (a.shape, a.dtype, a.device) == (b.shape, b.dtype, b.device) and torch.equal(a, b)
        for a, b in zip(one, other, strict=True)
    )
