"""The small modules that are fitted, and the reference bank's projection by their critic."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from milr.explanation.settings import MilrSettings
from milr.information.bottleneck import VariationalBottleneck
from milr.information.infomax import Critic
from milr.information.mask import MaskModule
from milr.information.statistics import Standardise
from milr.information.whitening import Whitening

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
