"""The three maps of a batch of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.errors import MilrError


@dataclass(frozen=True)
class Maps:
    """Information per location in bits, each map [K, H, W] at the local layer's own resolution.

    `MILR.maps` makes them. They are float32 tensors on the network's device.

    Attributes:
        total: i(x_i; z), a lower bound (InfoNCE; paper, eq. 2), in bits.
        decision: the upper bound on I(x'_i; z) (eq. 8), in bits, at least 0.
        redundant: what masking takes away, in bits and signed (eq. 9): i(x_i; z) - i(x'_i; z), averaged over the
            mask's noise, or with `redundancy=representation` i(x_i; z) - i(x_i; z').
        mask: the mean of the mask over channels, 0 to 1.
        output: what the untouched network returns, [K, E].
        cap: the most bits that the mean of a total map can reach: log2((bank + N) / N).

    Example:
        >>> import milr, torch
        >>> bits = torch.ones(2, 8, 8)
        >>> maps = milr.Maps(bits, bits / 2, -bits, mask=bits, output=torch.zeros(2, 4), cap=6.0)
        >>> maps.require_finite()  # MilrError that names the image where one is not
        >>> row = maps.rows()[0]
        >>> row["total_bits"], row["decision_mean_bits"], row["redundant_share_negative"]
        (64.0, 0.5, 1.0)
    """

    total: Tensor
    decision: Tensor
    redundant: Tensor
    mask: Tensor
    output: Tensor
    cap: float

    def require_finite(self) -> None:
        """MilrError naming the first image whose output or map holds NaN or an infinity."""
        for what in ("output", "total", "decision", "redundant", "mask"):
            broken = (~torch.isfinite(getattr(self, what))).flatten(1).any(1).nonzero().flatten().tolist()
            if broken:
                name = "the network's output" if what == "output" else f"the {what} map"
                raise MilrError(
                    f"{name} holds nan or inf for image {broken[0]} ({len(broken)} of {len(self.output)} images): "
                    "look at the picture's values, and at the weights of the network and of the fitted module"
                )

    def rows(self) -> list[dict[str, float]]:
        """One row an image: the maps' sums and means in bits, cap, saturation, share of negative redundancy."""
        rows = []
        for total, decision, redundant, mask in zip(self.total, self.decision, self.redundant, self.mask, strict=True):
            rows.append(
                {
                    "total_bits": total.sum().item(),
                    "decision_bits": decision.sum().item(),
                    "redundant_bits": redundant.sum().item(),
                    "total_mean_bits": total.mean().item(),
                    "decision_mean_bits": decision.mean().item(),
                    "redundant_mean_bits": redundant.mean().item(),
                    "mask_mean": mask.mean().item(),
                    "cap_bits": self.cap,
                    "saturation": total.mean().item() / self.cap,
                    "redundant_share_negative": (redundant < 0).double().mean().item(),
                }
            )
        return rows


def stack(maps: Sequence[Maps]) -> Maps:
    """The maps of several batches as one."""
    joined = {
        kind: torch.cat([getattr(m, kind) for m in maps])
        for kind in ("total", "decision", "redundant", "mask", "output")
    }
    return Maps(**joined, cap=maps[0].cap)
