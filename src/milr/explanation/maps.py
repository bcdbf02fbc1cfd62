"""The three maps of a batch of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from milr.errors import MilrError

SUMMED = ("total", "kept", "redundant")  # the first is the sum of the other two (paper, eq. 9)
KINDS = (*SUMMED, "decision")


@dataclass(frozen=True)
class Maps:
    """Information per location in bits, each map [K, H, W] at the local layer's own resolution.

    `MILR.maps` makes them. They are float32 tensors on the network's device.

    Attributes:
        total: I(x_i; z) in the reading of `infomax.map`, in bits (paper, eq. 1 and 2).
        kept: of it what passes the mask, I(x'_i; z) in the same reading, averaged over the mask's noise (with
            `redundancy=representation` I(x_i; z')).
        redundant: what masking takes away, in bits and signed (eq. 9): total - kept, to the last bit of a float.
        decision: the upper bound on I(x'_i; z) (eq. 8), in bits, at least 0. With the capacity bound it counts what
            passes about x_i itself: up to hundreds of bits a place.
        mask: the mean of the mask over channels, 0 to 1.
        output: what the untouched network returns, [K, E].
        cap: the most bits that the mean of a total map can reach: log2 of the images it is compared with, itself one.
        readings: name -> "total" and "redundant" in each other reading that was asked for.

    Example:
        >>> import milr, torch
        >>> bits = torch.ones(2, 8, 8)
        >>> mask, output = torch.ones(2, 8, 8), torch.zeros(2, 4)
        >>> maps = milr.Maps(bits, 2 * bits, redundant=-bits, decision=bits / 2, mask=mask, output=output, cap=6.0)
        >>> maps.require_finite()  # MilrError that names the image where one is not
        >>> row = maps.rows()[0]
        >>> row["total_bits"], row["decision_mean_bits"], row["redundant_share_negative"]
        (64.0, 0.5, 1.0)
    """

    total: Tensor
    kept: Tensor
    redundant: Tensor
    decision: Tensor
    mask: Tensor
    output: Tensor
    cap: float
    readings: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    def require_finite(self) -> None:
        """MilrError naming the first image whose output or map holds NaN or an infinity."""
        for what in ("output", *KINDS, "mask"):
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
        for total, kept, decision, redundant, mask in zip(
            self.total, self.kept, self.decision, self.redundant, self.mask, strict=True
        ):
            rows.append(
                {
                    "total_bits": total.sum().item(),
                    "kept_bits": kept.sum().item(),
                    "decision_bits": decision.sum().item(),
                    "redundant_bits": redundant.sum().item(),
                    "total_mean_bits": total.mean().item(),
                    "kept_mean_bits": kept.mean().item(),
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
    joined = {kind: torch.cat([getattr(m, kind) for m in maps]) for kind in (*KINDS, "mask", "output")}
    readings = {
        reading: {kind: torch.cat([m.readings[reading][kind] for m in maps]) for kind in kinds}
        for reading, kinds in maps[0].readings.items()
    }
    return Maps(**joined, cap=maps[0].cap, readings=readings)
