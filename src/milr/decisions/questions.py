"""What is asked about the pictures of a data set: which of them make a batch, and the decision about these."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from milr.data.augmentation import augment, to_device, to_input
from milr.data.episodes import draw_episode
from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.data.settings import Augmentation
from milr.decisions.batch_sources import permuted
from milr.decisions.batches import episode_decision, permute_supports
from milr.decisions.comparisons import DIFFERENT, SAME, UNKNOWN
from milr.decisions.decisions import Batch, Decision
from milr.errors import MilrError
from milr.networks.settings import MetricSettings

KnownPairs = Sequence[tuple[Path, Path, bool]]


class Pool(Protocol):
    """Pictures to draw from, read or not."""

    @property
    def labels(self) -> Tensor:
        """Class ids [n]."""

    @property
    def records(self) -> tuple[Record, ...]:
        """What is known of each."""


@dataclass(frozen=True)
class Listed:
    """Pictures that are not read yet."""

    labels: Tensor
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Question:
    """Batch `number` of a pool is `draw(pool, number)`, indices; the decision about them `ask(their records)`."""

    draw: Callable[[Pool, int], Tensor]
    ask: Callable[[Sequence[Record]], Decision]
    first_query: int = 0  # images before it are supports
    answers: Sequence[str] = ()  # names of the logits, where they have some
    compares: bool = False  # the answers are the batch's other images
    size: int = 0  # of a batch, where batches go through all pictures before one comes again
    wrong: Callable[[Batch, int], Batch] | None = None  # the batch with supports under wrong labels, where it has some

    def count(self, wanted: int, pictures: int) -> int:
        """So many batches, but none that only repeats pictures."""
        return min(wanted, -(-pictures // self.size)) if self.size else wanted


class QuestionBatches:
    """The batch of step k of these pictures, augmented: a function of (seed, k) alone, as `fit` takes it."""

    def __init__(
        self,
        pictures: Pictures,
        question: Question,
        augmentation: Augmentation | None,
        seed: int,
        device: torch.device,
    ) -> None:
        self.pictures, self.question, self.augmentation = pictures, question, augmentation
        self.seed, self.device = seed, device

    def __call__(self, step: int, wrong: bool = False) -> Batch:
        """`wrong`: each picture is asked about as another one of the batch is, for a check of the fit."""
        chosen = self.question.draw(self.pictures, step)
        records = [self.pictures.records[index] for index in chosen.tolist()] if self.pictures.records else []
        images = to_device(self.pictures.chosen(chosen), self.device)
        how = self.pictures.normalisation
        if self.augmentation:
            images = augment(images, self.augmentation, f"{self.seed}:{step}", how)
        else:
            images = to_input(images, normalisation=how)
        if wrong and self.question.wrong:
            return self.question.wrong(Batch(images, self.question.ask(records)), step)
        return Batch(images, self.question.ask(turned(records, step) if wrong else records))


def turned(records: Sequence[Record], seed: int) -> list[Record]:
    """The records turned by a number drawn from the seed, so that none stays where it was."""
    turn = int(torch.randint(1, max(2, len(records)), (), generator=torch.Generator().manual_seed(seed)))
    return [*records[turn:], *records[:turn]]


def episodes(shape: tuple[int, int, int], metric: MetricSettings, centre: Tensor | None, seed: int) -> Question:
    """Episodes of (way, shot, query), each query against the supports' prototypes."""
    decide = episode_decision(*shape, metric, centre)

    def draw(pool: Pool, number: int) -> Tensor:
        """The indices of an episode, supports first."""
        episode = draw_episode(pool.labels, *shape, seed=seed, number=number)
        return torch.cat([episode.support.flatten(), episode.query.flatten()])

    way, shot, _ = shape
    wrong = partial(permute_supports, way=way, shot=shot)
    return Question(draw, lambda records: decide, way * shot, wrong=lambda batch, step: wrong(batch, seed=step))


class EpisodeBatches(QuestionBatches):
    """The batch of step k is episode k of these pictures, augmented: a function of (seed, k) alone, as `fit` takes it.

    Args:
        pictures: images uint8 [n, 3, S, S] with their class numbers [n].
        shape: way, shot, query.
        metric: how queries are compared with the prototypes.
        centre: the training images' mean representation [E], for a metric that subtracts it.
        augmentation: how far the pictures may be changed; None: not at all.
        seed: of the episodes and the changes.
        device: where the batches are to lie.

    Raises:
        MilrError: at a step, if there are fewer classes or pictures than an episode takes.

    Example:
        >>> import milr, torch
        >>> from milr.data.pictures import Pictures
        >>> from milr.networks.settings import MetricSettings
        >>> images = torch.randint(256, (20, 3, 32, 32), dtype=torch.uint8)
        >>> pictures = Pictures(images, torch.arange(20) % 4, records=())
        >>> cpu = torch.device("cpu")
        >>> batches = milr.EpisodeBatches(pictures, (3, 1, 2), MetricSettings(), None, None, seed=0, device=cpu)
        >>> batches(1).images.shape  # 3 supports and 6 queries, normalised
        torch.Size([9, 3, 32, 32])
    """

    def __init__(
        self,
        pictures: Pictures,
        shape: tuple[int, int, int],  # way, shot, query
        metric: MetricSettings,
        centre: Tensor | None,
        augmentation: Augmentation | None,
        seed: int,
        device: torch.device,
    ) -> None:
        super().__init__(pictures, episodes(shape, metric, centre, seed), augmentation, seed, device)


def single(
    size: int,
    seed: int,
    ask: Callable[[Sequence[Record]], Decision],
    answers: Sequence[str] = (),
) -> Question:
    """Every picture once before one comes again, in an order drawn for each time through."""

    def draw(pool: Pool, number: int) -> Tensor:
        """The batch's part of its time through."""
        count = len(pool.records)
        time, place = divmod(number, -(-count // size))
        return permuted(count, seed, time, "pictures")[place * size : (place + 1) * size]

    return Question(draw, ask, answers=answers, size=size)


def of_classes(size: int, each: int, seed: int, ask: Callable[[Sequence[Record]], Decision]) -> Question:
    """A few classes, `each` pictures of each: as many as make `size` pictures, or as there are."""

    def draw(pool: Pool, number: int) -> Tensor:
        """The pictures of a few classes, one class after the other."""
        counts = pool.labels.unique(return_counts=True)[1]
        way = min(size // each, int((counts >= each).sum()))
        if way < 2:
            raise MilrError(
                f"pairs need 2 classes with decision.each={each} pictures, in batches of decision.images={size}: "
                f"{int((counts >= each).sum())} of {len(counts)} classes have as many"
            )
        episode = draw_episode(pool.labels, way, 1, each - 1, seed, number)
        return torch.cat([episode.support, episode.query], 1).flatten()

    return Question(draw, ask, compares=True)


def of_pairs(size: int, seed: int, known: KnownPairs, ask: Callable[[Sequence[Record], Tensor], Decision]) -> Question:
    """Pairs of a table: positives, each with a negative of its first picture where there is one.

    Where the table has no negatives, all that it does not call the same count as such.
    """
    relation = {frozenset((one, other)): SAME if same else DIFFERENT for one, other, same in known}
    rest = UNKNOWN if DIFFERENT in relation.values() else DIFFERENT
    partners: Mapping[bool, dict[Path, list[Path]]] = {True: {}, False: {}}
    for one, other, same in known:
        for image, partner in ((one, other), (other, one)):
            partners[same].setdefault(image, []).append(partner)

    def draw(pool: Pool, number: int) -> Tensor:
        """Pairs until there are enough pictures."""
        index = {record.path: place for place, record in enumerate(pool.records)}
        chosen = dict[Path, None]()  # in the order of their drawing, none twice
        alike, unlike = (
            {path: [other for other in partners[same].get(path, []) if other in index] for path in index}
            for same in (True, False)
        )
        anchors = [path for path in index if alike[path] and (unlike[path] or rest == DIFFERENT)]
        for place in permuted(len(anchors), seed, number, "pairs").tolist():
            for others in (alike[anchors[place]], unlike[anchors[place]]):
                chosen |= dict.fromkeys((anchors[place], others[number % len(others)])) if others else {}
            if len(chosen) >= size:
                break
        if not chosen:
            raise MilrError(
                "the table of pairs names no picture of this split with another one of it that is the same, and one "
                "that is different"
            )
        return torch.tensor([index[path] for path in [*chosen][:size]])

    def related(records: Sequence[Record]) -> Decision:
        """What the table says of every two of them."""
        paths = [record.path for record in records]
        rows = [[relation.get(frozenset((one, other)), rest) for other in paths] for one in paths]
        return ask(records, torch.tensor(rows))

    return Question(draw, related, compares=True)
