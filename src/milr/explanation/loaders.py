"""Loaders of images as people have them: the first batch of one, how many images it holds, and mirror images."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from milr.errors import MilrError
from milr.explanation.inputs import AT_ONCE, described, images_of
from milr.networks.layers import LayerPair

NAMES = ("pixel_values", "images", "image", "inputs", "input", "x")  # what images are called in a batch that is a dict


def first_batch(batches: Any) -> tuple[Any, Any]:
    """The first batch, and batches that still begin with it. MilrError where there is none."""
    if isinstance(batches, Tensor | np.ndarray):
        return batches[:AT_ONCE], batches
    if not isinstance(batches, Iterable) and not hasattr(batches, "__getitem__"):
        raise MilrError(f"prepare takes batches of images (a DataLoader, images.split(32)), not {described(batches)}")
    walk = iter(batches)
    try:
        first = next(walk)
    except StopIteration:
        raise MilrError("prepare got no images: is the generator used up, or the data set empty?") from None
    return first, (chain([first], walk) if walk is batches else batches)


def example_of(batch: Any, device: torch.device) -> Tensor:
    """The images [K, 3, S, S] of a batch about which nothing is known yet, on the network's device.

    Of a pair the first thing, of a dict what is named like images; one image [C, H, W] counts as a batch of one.
    MilrError for anything else.
    """
    given = batch
    if isinstance(batch, Mapping):
        tensors = {name: value for name, value in batch.items() if isinstance(value, Tensor | np.ndarray)}
        named = next((tensors[name] for name in NAMES if name in tensors), None)
        given = next(iter(tensors.values())) if named is None and len(tensors) == 1 else named
    elif isinstance(batch, list | tuple) and batch:
        given = batch[0]
    if not isinstance(given, Tensor | np.ndarray) or not given.ndim:
        raise MilrError(
            f"no images are found in the first batch, {described(batch)}: give MILR(..., example=images[:2]), or "
            f"batches of images, of (images, labels), or of dicts that name them {', '.join(NAMES[:3])}"
        )
    images = torch.as_tensor(given).detach().as_subclass(Tensor).to(device)
    return images[None] if images.ndim == 3 and images.shape[0] in (1, 3) else images


def counted(batches: Any, layers: LayerPair) -> tuple[Iterable[Any], int]:
    """The batches and how many images they hold; they are walked once, from a file if their number cannot be known.

    The file is as large as the images are in memory. MilrError if the disk has no room for it.
    """
    if isinstance(batches, Tensor | np.ndarray):
        images = images_of(batches, layers, "what prepare is given")
        return images.split(AT_ONCE), len(images)
    if isinstance(batches, DataLoader) and batches.batch_size and not isinstance(batches.dataset, IterableDataset):
        count = len(batches.sampler)  # type: ignore[arg-type]
        return batches, count - count % batches.batch_size if batches.drop_last else count
    if isinstance(batches, list | tuple):
        return batches, sum(len(images_of(batch, layers, "a batch of prepare")) for batch in batches)
    kept = Kept(images_of(batch, layers, "a batch of prepare").cpu().clone() for batch in batches)
    return kept, kept.images


class Kept:
    """Batches from a source that is walked once, in a file without a name; `images` is how many they hold."""

    def __init__(self, batches: Iterator[Tensor]) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="milr-images-")  # noqa: SIM115
        weakref.finalize(self, self.file.close)
        self.images = self.batches = 0
        try:
            for batch in batches:
                pickle.dump(batch, self.file, protocol=5)
                self.images, self.batches = self.images + len(batch), self.batches + 1
        except OSError as error:
            raise MilrError(
                f"{tempfile.gettempdir()} has no room for the images while they are counted ({error.strerror}): pass "
                "their number, prepare(loader, images=...), or set TMPDIR to a folder with room"
            ) from error

    def __iter__(self) -> Iterator[Tensor]:
        self.file.seek(0)
        for _ in range(self.batches):
            yield pickle.load(self.file)


def with_mirrored(batches: Iterable[Tensor]) -> Iterator[Tensor]:
    """Each batch of images [K, C, H, W], and then the same mirrored. MilrError for anything else."""
    for images in batches:
        if images.ndim != 4:
            raise MilrError(f"views=2 mirrors images [K, C, H, W], not {described(images)}: leave it at 1")
        yield images
        yield images.flip(3)
