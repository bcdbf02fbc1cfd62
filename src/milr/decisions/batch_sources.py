"""Where a fit's batches come from: drawn anew from a data set by its indices, or kept as a loader gave them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import count
from numbers import Number
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
)

from milr.data.episodes import draw_episode
from milr.decisions.training_images import AT_ONCE, walked
from milr.errors import MilrError
from milr.seeding import seed_of, seeded

log = logging.getLogger("milr")

HELD_OUT = 512  # images at most that validate a fit
KEPT = 4096  # images at most that are kept of what cannot be indexed
EACH = 4  # images of an identity or a class in a batch that compares them


def in_batches(given: Any) -> Any:
    """A loader of a data set's items, or of single (image, label) in a list or a loader; anything else as it is."""
    singles = isinstance(given, list) and bool(given) and is_single(given[0])
    if singles or (isinstance(given, Dataset) and not isinstance(given, IterableDataset)):
        return DataLoader(given, AT_ONCE)
    if isinstance(given, DataLoader) and given.batch_sampler is None and hasattr(given.dataset, "__getitem__"):
        first = next(iter(given.sampler), None)  # batch_size=None: of single items, or of whole batches
        if first is not None and is_single(given.dataset[first]):
            return DataLoader(given.dataset, AT_ONCE, sampler=given.sampler, num_workers=given.num_workers)
    return given


def is_single(item: Any) -> bool:
    """Whether this is one (image, label), and no batch, with which anything may stand: a dict, a name, nothing."""
    if not isinstance(item, list | tuple) or len(item) != 2 or isinstance(item[0], list | tuple):
        return False
    image, label = item
    number = isinstance(label, Number) or (isinstance(label, np.ndarray | Tensor) and label.ndim == 0)
    return number and 0 < np.ndim(image) < 4


def can_be_drawn(loader: object) -> bool:
    """Whether batches of one's own can be drawn from it: a plain DataLoader of a data set that can be indexed."""
    return (
        isinstance(loader, DataLoader)
        and not isinstance(loader.dataset, IterableDataset)
        and hasattr(loader.dataset, "__len__")
        and type(loader.batch_sampler) is BatchSampler
        and type(loader.batch_sampler.sampler) in (RandomSampler, SequentialSampler)  # loader.sampler may be another
    )


def first_items(loader: Iterable[Any]) -> Iterator[Any]:
    """What a loader gives until there are `KEPT` images."""
    images = 0
    for item in walked(loader):
        yield item
        images += images_in(item)
        if images >= KEPT:
            log.info("of this loader the first %d images are kept; it is asked for no more", images)
            return


def finite(loader: Iterable[Any]) -> Iterable[Any]:
    """What a loader gives, of one without a length the first items: it may have no end."""
    try:
        len(loader)  # type: ignore[arg-type]
    except TypeError:
        return first_items(loader)
    return loader


class KeptBatches:
    """The batches that a loader gave, kept in memory, in an order drawn anew each time through."""

    def __init__(self, loader: Iterable[Any], seed: int) -> None:
        self.seed, self.items = seed, list(first_items(loader))
        if not self.items:
            raise MilrError("the loader gives nothing: is a generator used up, or the data set empty?")

    def held_out(self, share: float) -> Iterator[Any]:
        """The last batches, taken out."""
        count = min(max(1, round(share * len(self.items))), len(self.items) - 1) if share else 0
        for _ in range(count):
            yield self.items.pop()

    def __call__(self, step: int) -> Any:
        time, place = divmod(step - 1, len(self.items))
        return self.items[int(permuted(len(self.items), self.seed, time)[place])]


class DrawnBatches:
    """Batches drawn from a data set by its indices, read by the loader's workers ahead of the steps."""

    def __init__(self, loader: Any, seed: int, compared: bool) -> None:
        self.loader, self.seed, self.size = loader, seed, loader.batch_sampler.batch_size
        self.labels = known_labels(loader.dataset) if compared else None
        self.indices = permuted(len(loader.dataset), seed, 0, "held out")
        if not len(self.indices):
            raise MilrError("the data set of the loader is empty")
        self.next, self.items = 0, iter(())

    def held_out(self, share: float) -> Iterator[Any]:
        """Batches of the images that are held out, from here on not drawn any more."""
        wanted = min(HELD_OUT, max(2, round(share * len(self.indices)))) if share else 0
        held_out, self.indices = self.indices[:wanted], self.indices[wanted:]
        if self.labels is not None and wanted:
            classes = self.labels.unique()
            if len(classes) >= 10:
                chosen = classes[permuted(len(classes), self.seed, 0, "classes")[: max(2, round(share * len(classes)))]]
                out = torch.isin(self.labels, chosen)
            else:
                out = self.some_of_each(share)
            if out.any():
                held_out, self.indices = out.nonzero()[:, 0], (~out).nonzero()[:, 0]
        if not len(self.indices):
            raise MilrError(
                f"the loader's {len(self.loader.dataset)} images are too few for a fit, {len(held_out)} of them held "
                "out: give more, or validation=[] to hold out none"
            )
        if self.labels is not None:
            rounds = -(-min(len(held_out), HELD_OUT) // self.size)
            batches = [self.grouped(held_out, number, "held out") for number in range(rounds)]
        else:
            batches = [part.tolist() for part in held_out.split(self.size) if len(part)]
        yield from self.read([(0, index) for index in batch] for batch in batches)

    def some_of_each(self, share: float) -> Tensor:
        """Which images [n] are held out of a few classes: of each that has four or more two at least, in a fixed order.

        A share of them all might hold two of no class, with which nothing can be compared.
        """
        assert self.labels is not None
        order = permuted(len(self.labels), self.seed, 0, "held out")
        classes, sizes = self.labels.unique(return_counts=True)
        out = torch.zeros(len(self.labels), dtype=torch.bool)
        for number, size in zip(classes, sizes.tolist(), strict=True):
            if size >= 2 * 2:
                own = order[self.labels[order] == number]
                out[own[: min(max(2, round(share * size)), HELD_OUT // len(classes))]] = True
        return out

    def __call__(self, step: int) -> Any:
        if step != self.next:
            self.items = self.read([(at, index) for index in self.drawn(at)] for at in count(step))
        self.next = step + 1
        return next(self.items)

    def drawn(self, step: int) -> list[int]:
        """The indices of a step: as the epochs go through the images, or a few classes."""
        if self.labels is not None:
            return self.grouped(self.indices, step, "steps")
        size = min(self.size, len(self.indices))
        epoch, place = divmod(step - 1, len(self.indices) // size)
        order = permuted(len(self.indices), self.seed, epoch, "steps")
        return self.indices[order[place * size : (place + 1) * size]].tolist()

    def grouped(self, indices: Tensor, number: int, purpose: str) -> list[int]:
        """Indices of a few classes, `EACH` of each, or two where the classes have no more."""
        assert self.labels is not None
        labels = self.labels[indices]
        sizes = labels.unique(return_counts=True)[1]
        each = EACH if (sizes >= EACH).sum() >= 2 else 2
        way = max(2, min(int((sizes >= each).sum()), self.size // each))
        try:
            episode = draw_episode(labels, way, 1, each - 1, f"{self.seed}:{purpose}", number)
        except MilrError:
            raise MilrError("images cannot be compared: fewer than two classes have two images of this part") from None
        return indices[torch.cat([episode.support, episode.query], 1).flatten()].tolist()

    def read(self, batches: Iterable[list[tuple[int, int]]]) -> Iterator[Any]:
        """What the loader makes of these (step, index)."""
        given = self.loader
        return walked(
            DataLoader(
                SeededItems(given.dataset, self.seed),
                batch_sampler=batches,
                num_workers=given.num_workers,
                collate_fn=given.collate_fn,
                worker_init_fn=given.worker_init_fn,
                multiprocessing_context=given.multiprocessing_context,
                generator=torch.Generator().manual_seed(self.seed),  # not the process's: nobody else's numbers change
            )
        )


class SeededItems(Dataset[Any]):
    """A data set's items under (step, index), what they draw from torch's generator being a function of these."""

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: tuple[int, int]) -> Any:
        with seeded(seed_of("items", self.seed, *key)):
            return self.dataset[key[1]]


def known_labels(dataset: Any) -> Tensor | None:
    """The class numbers [n] of a data set that tells them without its images being read; else None."""
    if isinstance(dataset, Subset):
        labels = known_labels(dataset.dataset)
        return None if labels is None else labels[torch.as_tensor(dataset.indices)]
    last = dataset.tensors[-1] if isinstance(dataset, TensorDataset) else None
    for given in (last, getattr(dataset, "targets", None), getattr(dataset, "labels", None)):
        try:
            labels = torch.as_tensor(given)
        except (TypeError, ValueError, RuntimeError):
            continue
        if labels.ndim == 1 and len(labels) == len(dataset) and not labels.is_floating_point():
            return labels
    return None


def images_in(item: Any) -> int:
    """How many images what a loader gives holds: the rows of the first thing in it that has some."""
    if isinstance(item, Mapping):
        item = list(item.values())
    if isinstance(item, list | tuple):
        return next((images_in(part) for part in item if hasattr(part, "__len__")), 1)
    return len(item) if hasattr(item, "__len__") else 1


@lru_cache(maxsize=4)
def permuted(count: int, seed: int, time: int, purpose: str = "batches") -> Tensor:
    """The numbers below `count` in an order drawn from the seed, for each time through."""
    generator = torch.Generator().manual_seed(seed_of(purpose, seed, time))
    return torch.randperm(count, generator=generator)
