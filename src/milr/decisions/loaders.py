"""Loaders of images as people have them: the first batch, how many images there are, mirrored and held-out ones."""

from __future__ import annotations

import pickle
import tempfile
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from inspect import Parameter, signature
from itertools import chain
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from milr.decisions.batch_sources import finite
from milr.decisions.decisions import Batch
from milr.decisions.inputs import described, images_of, named_in, network_device
from milr.decisions.loading import TARGETS, fit_batches
from milr.decisions.training_images import AT_ONCE, NO_IMAGES, require_batches, walked
from milr.errors import MilrError
from milr.networks.inputs import PICTURES, Inputs, count, mapped, split
from milr.networks.layers import LayerPair
from milr.networks.wrappers import unwrap

KEYWORD_ONLY = Parameter.KEYWORD_ONLY
VALIDATIONS = 8  # batches of a loader that is given for validation


def first_batch(batches: Any) -> tuple[Any, Any]:
    """The first batch, and batches that still begin with it. MilrError where there is none."""
    if isinstance(batches, Tensor | np.ndarray | Mapping):
        return batches, batches
    require_batches(batches)
    walk = iter(batches)
    try:
        first = next(walked(walk))
    except StopIteration:
        raise MilrError(NO_IMAGES) from None
    return first, (chain([first], walk) if walk is batches else batches)


def example_of(batch: Any, network: nn.Module) -> Inputs:
    """What the network is called with of a batch about which nothing is known yet, on the network's device.

    Of a pair the first thing, or the arguments in it. Of a dict without its targets the arguments that the network
    names, or the one tensor that there is, or that is named like images. One image [C, H, W] counts as a batch of one.
    MilrError for anything else.
    """
    batch = named_in(batch)
    given = batch[0] if isinstance(batch, list | tuple) and batch else batch
    if _arguments(given, network):
        return tuple(torch.as_tensor(part).to(network_device(network)) for part in given)
    if isinstance(given, Mapping):
        given = _inputs_in(given, network)
    device = network_device(network)
    if isinstance(given, dict):
        return {name: torch.as_tensor(part).to(device) for name, part in given.items()}
    if not isinstance(given, Tensor | np.ndarray) or not given.ndim:
        raise MilrError(
            f"no images are found in the first batch, {described(batch)}: give MILR(..., example=images[:2]), or "
            f"batches of images, of (images, labels), or of dicts that name them {', '.join(PICTURES[:3])}"
        )
    images = torch.as_tensor(given).detach().as_subclass(Tensor).to(device)
    return images[None] if images.ndim == 3 and images.shape[0] in (1, 3) else images


def _arguments(given: Any, network: nn.Module) -> bool:
    """Whether these are several tensors with a row for each image, which the network takes as so many arguments."""
    if not isinstance(given, list | tuple) or not all(isinstance(part, Tensor | np.ndarray) for part in given):
        return False
    dimensions = sorted(part.ndim for part in given)
    if not given or not dimensions[0] or dimensions[-1] < 2 or len({len(part) for part in given}) > 1:
        return False
    try:
        signature(unwrap(network).forward).bind(*given)
    except TypeError:
        return False
    return True


def _inputs_in(batch: Mapping[Any, Any], network: nn.Module) -> dict[str, Any] | Any:
    """The one input in a dict, or those that the network takes by these names; None where there is no telling."""
    held = {
        str(name): part
        for name, part in batch.items()
        if isinstance(part, Tensor | np.ndarray) and part.ndim and name not in TARGETS
    }
    taken = signature(unwrap(network).forward).parameters
    named = {name: part for name, part in held.items() if name in taken}
    if len(held) == 1 and not any(taken[name].kind is KEYWORD_ONLY or name != next(iter(taken)) for name in named):
        return next(iter(held.values()))  # as a first argument it needs no name
    if named:
        return named
    return next((held[name] for name in PICTURES if name in held), None)


def counted(batches: Any, layers: LayerPair) -> tuple[Iterable[Any], int]:
    """The batches and how many images they hold; they are walked once, from a file if their number cannot be known.

    The file is as large as the images are in memory. MilrError if the disk has no room for it.
    """
    if isinstance(batches, Tensor | np.ndarray | Mapping):
        images = images_of(batches, layers, "what prepare is given")
        return split(images, AT_ONCE), count(images)
    if isinstance(batches, DataLoader) and batches.batch_size and not isinstance(batches.dataset, IterableDataset):
        known = len(batches.sampler)  # type: ignore[arg-type]
        return batches, known - known % batches.batch_size if batches.drop_last else known
    if isinstance(batches, list | tuple):
        return batches, sum(count(images_of(batch, layers, "a batch of prepare")) for batch in batches)
    kept = Kept(images_of(batch, layers, "a batch of prepare") for batch in finite(batches))
    return kept, kept.images


class Kept:
    """Batches from a source that is walked once, in a file without a name; `images` is how many they hold."""

    def __init__(self, batches: Iterator[Inputs]) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(prefix="milr-images-")  # noqa: SIM115
        weakref.finalize(self, self.file.close)
        self.images = self.batches = 0
        try:
            for batch in batches:
                pickle.dump(mapped(batch, lambda part: part.cpu().clone()), self.file, protocol=5)
                self.images, self.batches = self.images + count(batch), self.batches + 1
        except OSError as error:
            raise MilrError(
                f"{tempfile.gettempdir()} has no room for the images while they are counted ({error.strerror}): pass "
                "their number, prepare(loader, images=...), or set TMPDIR to a folder with room"
            ) from error

    def __iter__(self) -> Iterator[Inputs]:
        self.file.seek(0)
        for _ in range(self.batches):
            yield pickle.load(self.file)


def images_to_prepare(loader: Iterable[Any], decision: str | Callable[[Any], Batch]) -> Iterable[Any]:
    """What `prepare` reads of a fit's loader: itself, or the images of the batches that a function makes.

    Of one without a length what a fit keeps of it.
    """
    loader = finite(loader)
    if not callable(decision):
        return loader
    batches = [decision(item) for item in loader]
    for batch in batches:
        if not isinstance(batch, Batch):
            raise MilrError(f"the function decision must make a milr.Batch(images, decide), not {described(batch)}")
    return [batch.images for batch in batches]


def with_mirrored(batches: Iterable[Inputs]) -> Iterator[Inputs]:
    """Each batch of images [K, C, H, W], and then the same mirrored. MilrError for anything else."""
    for images in batches:
        if not isinstance(images, Tensor) or images.ndim != 4:
            raise MilrError(f"views=2 mirrors images [K, C, H, W], not {described(images)}: leave it at 1")
        yield images
        yield images.flip(3)


def validation_batches(given: Iterable[Any], decision: str | Callable[[Any], Batch], seed: int) -> list[Batch]:
    """Held-out batches as they are, or the first of a loader."""
    if isinstance(given, list | tuple) and all(isinstance(batch, Batch) for batch in given):
        return list(given)
    batches, _ = fit_batches(given, decision, seed, 0.0)
    return [batches(step) for step in range(1, VALIDATIONS + 1)]
