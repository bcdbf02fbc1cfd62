"""The three maps of a batch of images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from milr.default_device import on_the_cpu
from milr.errors import MilrError
from milr.explanation.map_tensors import answers, numbers_of, require_finite, upsampled
from milr.fields import load
from milr.files import checked_path, write_atomically

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUMMED = ("total", "kept", "redundant")  # the first is the sum of the other two (paper, eq. 9)
KINDS = (*SUMMED, "decision")
PICTURES = (".png", ".pdf", ".svg", ".jpg", ".jpeg")


@dataclass(frozen=True, repr=False)
class Maps:
    """Information per location in bits, each map [K, H, W] at the local layer's own resolution ([K, T] of a sequence).

    `MILR.maps` makes them. They are float32 tensors on the network's device. `maps[2]`, `maps[:5]`, `maps[mask]` are
    maps of some of the images, always with the dimension of the images; `len(maps)` is how many they are of.

    Attributes:
        total: I(x_i; z) in the reading of `infomax.map`, in bits (paper, eq. 1 and 2).
        kept: of it what passes the mask, I(x'_i; z) in the same reading, averaged over the mask's noise; with noise
            fill at most the capacity, which bounds it (with `redundancy=representation` I(x_i; z'), unbounded).
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
        >>> maps[0].upsample(32)
        Maps of 1 image, 32 x 32, mean bits a location: total 1, kept 2, redundant -1, decision 0.5; mask 1, cap 6
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
        require_finite({"the network's output": answers(self.output)})
        require_finite({f"the {kind} map": getattr(self, kind) for kind in (*KINDS, "mask")})

    def __len__(self) -> int:
        return len(self.total)

    @on_the_cpu()
    def __getitem__(self, images: Any) -> Maps:
        """The maps of an image, a slice, numbers [n] or a mask [K]. IndexError for images out of range."""
        rows = numbers_of(images, len(self)).to(self.total.device)
        return self._changed(lambda tensor: tensor[rows], self.output[rows])

    def to(self, device: torch.device | str) -> Maps:
        """The same on another device. MilrError for no device, or one that is not there."""
        try:
            return self._changed(lambda tensor: tensor.to(device), self.output.to(device))
        except (RuntimeError, AssertionError) as error:
            raise MilrError(f"the maps cannot go to {str(device)!r}: {str(error).splitlines()[0]}") from None

    def upsample(self, size: int | tuple[int, ...]) -> Maps:
        """Maps [K, H', W'] at another size, bilinear; one number is a square (or the length of a sequence, linear).

        The values stay bits per place of the local layer's grid: they are interpolated, not divided among pixels, so
        that sums over an upsampled map mean nothing. `output` stays as it is.
        """
        return self._changed(lambda heat: upsampled(heat, size), self.output)

    def of_sequences(self) -> Maps:
        """Maps [K, 1, T] of sequences as rows [K, T]."""
        return self._changed(lambda heat: heat.flatten(1), self.output)

    def _changed(self, change: Callable[[Tensor], Tensor], output: Tensor) -> Maps:
        """The same change to every map, with this output."""
        own = {kind: change(getattr(self, kind)) for kind in (*KINDS, "mask")}
        readings = {name: {kind: change(map) for kind, map in kinds.items()} for name, kinds in self.readings.items()}
        return Maps(**own, output=output, cap=self.cap, readings=readings)

    @on_the_cpu()
    def plot(
        self,
        images: Any = None,
        names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        note: str = "",
        **style: str,
    ) -> Figure:
        """A figure with a column for each image: itself, then each of its maps; a notebook shows it.

        Args:
            images: [K, 3, H, W] or [K, H, W, 3], uint8, floats from 0 to 1, or as the network takes them; None: maps
                alone.
            names: a text over each column; of a sequence, under each of its places.
            mean: of the normalisation to be undone, one number per colour. Without it an image with other values than
                a picture has is drawn from its least to its highest value, and the figure says so.
            std: of the normalisation, one number per colour.
            note: a line over the figure.
            style: fields of `FigureSettings`: colours, scale, width.

        Raises:
            MilrError: for images that cannot be drawn, or another number of them than of maps.
        """
        drawing = load("milr.figures.plotting:plot")  # matplotlib takes a moment
        return drawing(self, images, names, mean, std, note, **style)

    @on_the_cpu()
    def show(
        self,
        images: Any = None,
        names: Sequence[str] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        **style: str,
    ) -> Any:
        """For a notebook: each image beside its maps, with a slider for the share of places that are kept.

        The highest places of the decision map are kept; grey covers the others. The result is plain HTML, works without
        a kernel, and its `html` can be put into any page. Arguments and errors: as `plot`.
        """
        return load("milr.figures.slider:show")(self, images, names, mean, std, **style)

    def _repr_html_(self) -> str | None:
        return self.show().html if len(self) else None

    def save(self, path: str | Path, images: Any = None, **plot_arguments: Any) -> None:
        """Writes the maps: .npz, each map under its own name; .png, .pdf, .svg, .jpg, what `plot(images, ...)` draws.

        MilrError for another ending, and for a folder that does not exist.
        """
        path = checked_path(path, "maps.save(path, images)")
        if not path.parent.is_dir():
            raise MilrError(f"{path} cannot be written: there is no folder {path.parent}")
        if path.suffix == ".npz":
            write_atomically(path, lambda file: np.savez_compressed(file, **self.arrays()))
        elif path.suffix.lower() in PICTURES:
            drawing, write = self.plot(images, **plot_arguments), load("milr.figures.canvas:write")
            write_atomically(path, lambda file: write(drawing, file, path.suffix[1:].lower()))
        else:
            raise MilrError(f"maps.save({path.name}): choose an ending among .npz, {', '.join(PICTURES)}")

    def arrays(self) -> dict[str, Any]:
        """Each map under its own name, other readings of eq. 1 as total_sample, redundant_sample and so on."""
        arrays = {kind: getattr(self, kind).cpu().numpy() for kind in (*KINDS, "mask")}
        for reading, kinds in self.readings.items():
            arrays |= {f"{kind}_{reading}": values.cpu().numpy() for kind, values in kinds.items()}
        return arrays | {"cap": np.array(self.cap)}

    def __repr__(self) -> str:
        count, size = len(self), " x ".join(map(str, self.total.shape[1:]))
        means = ", ".join(f"{kind} {getattr(self, kind).mean().item():.3g}" for kind in KINDS)
        last = f"mask {self.mask.mean().item():.3g}, cap {self.cap:.3g}"
        return f"Maps of {count} image{'s' * (count != 1)}, {size}, mean bits a location: {means}; {last}"

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
    if len(maps) == 1:
        return maps[0]
    joined = {kind: torch.cat([getattr(m, kind) for m in maps]) for kind in (*KINDS, "mask", "output")}
    readings = {
        reading: {kind: torch.cat([m.readings[reading][kind] for m in maps]) for kind in kinds}
        for reading, kinds in maps[0].readings.items()
    }
    return Maps(**joined, cap=maps[0].cap, readings=readings)
