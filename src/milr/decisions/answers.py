"""What the network answers about each picture of a batch, in numbers: decisions.csv, one row an answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from milr.data.records import Record
from milr.decisions.decisions import Batch
from milr.decisions.questions import Question

DECISIONS = "decisions.csv"
DISTANCE = "distance to the prototype"


@dataclass(frozen=True)
class Answer:
    """A row of decisions.csv."""

    image: int  # its number in maps.npz, from 0
    file: str
    score: float  # of the decision about the image: 1 is right
    answer: str  # a class, or what else can be answered
    value: float  # what speaks for it: a logit; or against it: a distance
    quantity: str  # logit, or DISTANCE


def answers_of(
    records: Sequence[Record], question: Question, output: Tensor, distances: Tensor | None = None
) -> list[Answer]:
    """The answers about a batch's pictures, by the network's output [K, E]; none where a decision has no logits.

    distances: [Q, way] of an episode's queries, which are then told instead of logits.
    """
    decided = Batch(output, question.ask(records)).decided(output)
    values = decided.logits if distances is None else distances
    if values is None:
        return []
    names = names_of(records, question, values.shape[1])
    quantity = "logit" if distances is None else DISTANCE
    rows = []
    for image, score, row in zip(decided.owners(len(records)), decided.score.tolist(), values.tolist(), strict=True):
        path = str(records[image].path)
        rows += [Answer(image, path, score, name, value, quantity) for name, value in zip(names, row, strict=True)]
    return rows


def names_of(records: Sequence[Record], question: Question, count: int) -> list[str]:
    """What the `count` answers are called: classes, the episode's own, the batch's pictures, or numbers from 1."""
    if question.answers:
        return list(question.answers)
    if question.first_query:
        return [record.class_name for record in records[: question.first_query : question.first_query // count]]
    return [f"picture {number}" if question.compares else str(number) for number in range(1, count + 1)]
