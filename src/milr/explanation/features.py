"""The layers' features of many images, computed once: a fit of the critic then takes milliseconds a step."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.networks.layers import FirstPass, LayerPair

GIB = 1 << 30
MOST = 256.0  # the largest value of the first batch is stored as this: far from float16's ends on both sides


@dataclass(frozen=True)
class Sample:
    """Some places of some images, on the device, as floats."""

    local: Tensor  # x [K, S, C]
    places: Tensor  # their numbers [S]
    representation: Tensor  # z [K, D]
    occluded: Tensor | None  # x' [K, S, C]
    masked: Tensor | None  # z' [K, D]


@dataclass(frozen=True)
class Features:
    """Local features and representations of P images, on the CPU, and the places that are held of each.

    Attributes:
        local: x [P, S, C] float16, divided by `scale`; past the memory budget in a file on disk.
        representation: z [P, D] float32.
        places: the numbers of the S places [S]; all N of the layer, unless the file would be too large.
        scale: what the stored values are multiplied by to give features.
        occluded: what the mask lets pass, x' as `local`, or None.
        masked: the representations of that, z' as `representation`, or None.
        rows: where the images stand in `local` and `occluded`; None: in their order. A part of the images needs no
            copy of what may lie on disk.
    """

    local: Tensor
    representation: Tensor
    places: Tensor
    scale: float
    occluded: Tensor | None = None
    masked: Tensor | None = None
    rows: Tensor | None = None

    def __len__(self) -> int:
        return len(self.representation)

    def sample(self, images: Tensor, places: Tensor, device: torch.device) -> Sample:
        """Those of some images [K] at some places [s], numbers within what is held."""

        def locations(held: Tensor) -> Tensor:
            """Those of the chosen images and places [K, S, C]."""
            rows = images if self.rows is None else self.rows[images]
            return held[rows[:, None], places].to(device).float() * self.scale

        return Sample(
            locations(self.local),
            self.places[places].to(device),
            self.representation[images].to(device),
            None if self.occluded is None else locations(self.occluded),
            None if self.masked is None else self.masked[images].to(device),
        )

    def draw(self, images: int, places: int, generator: torch.Generator, device: torch.device) -> Sample:
        """A sample of different images at places common to all."""
        chosen = torch.randperm(len(self), generator=generator)[:images]
        return self.sample(chosen, torch.randperm(len(self.places), generator=generator)[:places], device)

    def at(self, images: Tensor) -> Features:
        """Those of some images [K] alone."""
        return replace(
            self,
            representation=self.representation[images],
            masked=None if self.masked is None else self.masked[images],
            rows=images if self.rows is None else self.rows[images],
        )


class FeatureStore:
    """Collects `Features`, batch by batch, of a number of images that is known beforehand."""

    def __init__(self, layers: LayerPair, images: int, memory_gib: float, disk_gib: float, seed: int = 0) -> None:
        channels, height, width = layers.local_shape
        locations, row = height * width, 2 * channels * images  # bytes of one place of every image
        held = max(1, min(locations, int(max(memory_gib, disk_gib) * GIB / row)))
        generator = torch.Generator().manual_seed(seed)
        self.places = torch.randperm(locations, generator=generator)[:held].sort().values
        shape = (images, held, channels)
        if row * held <= memory_gib * GIB:
            self.local = torch.empty(shape, dtype=torch.float16)
        else:
            # Without a name from the start on: the system frees the disk when the tensor goes.
            with tempfile.NamedTemporaryFile(prefix="milr-features-") as file:
                reserve(file.fileno(), row * held)
                flat = torch.from_file(file.name, shared=True, size=math.prod(shape), dtype=torch.float16)
            self.local = flat.view(shape)
        self.representations: list[Tensor] = []
        self.filled, self.scale = 0, 0.0

    def add(self, first: FirstPass) -> None:
        """The next images' features."""
        self.scale = self.scale or scale_of(first.local)
        after = self.filled + len(first.local)
        self.local[self.filled : after] = stored(first.local, self.places, self.scale)
        self.representations.append(first.representation.float().cpu())
        self.filled = after

    def features(self) -> Features:
        """What was collected."""
        return Features(self.local[: self.filled], torch.cat(self.representations), self.places, self.scale or 1.0)


def reserve(file: int, size: int) -> None:
    """Takes so many bytes of the disk for an open file. MilrError if it has no room: memory that lies in a file which
    the disk cannot hold ends the process without a word."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(file, 0, size)
    except OSError as error:
        raise MilrError(
            f"{tempfile.gettempdir()} takes no file of {size / GIB:.1f} GiB for the layers' features "
            f"({error.strerror}): set TMPDIR to a folder with room, or infomax.disk_gib to less"
        ) from error


def scale_of(local: Tensor) -> float:
    """A power of 2 that brings features of this size well into the range of float16; 1 for what is not finite."""
    most = float(local.abs().max())
    if not math.isfinite(most):
        return 1.0
    return float(2.0 ** math.ceil(math.log2(max(most, 2.0**-100) / MOST)))


def stored(local: Tensor, places: Tensor, scale: float) -> Tensor:
    """x [K, C, H, W] at some places [S] as it is held: [K, S, C] float16 on the CPU."""
    chosen = local.flatten(2)[:, :, places.to(local.device)].transpose(1, 2).float()
    return (chosen / scale).clamp(-65504, 65504).to("cpu", torch.float16)
