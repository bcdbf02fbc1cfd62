"""What the network answers about each picture of a batch: decisions.csv, one row an answer; and through the mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

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


@dataclass(frozen=True)
class Masked:
    """What is answered about a picture when of each picture of its batch only what its mask lets pass is there."""

    answer: str  # that most draws of the mask's noise give; of equally many the likelier
    right: bool
    share: float  # of the draws that give it


def answers_of(
    records: Sequence[Record], question: Question, output: Tensor, distances: Tensor | None = None
) -> list[Answer]:
    """The answers about a batch's pictures, by the network's output [K, E]; none where a decision has no logits.

    distances: [Q, way] of an episode's queries, which are then shown instead of logits.
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


def masked_answers(records: Sequence[Record], question: Question, outputs: Tensor) -> dict[int, Masked]:
    """Number of a picture -> what is answered through the mask, by outputs [draws, K, E].

    None for labels and numbers, of which no single one is the answer.
    """
    if not (question.answers or question.first_query or question.compares):
        return {}
    batch = Batch(outputs[0], question.ask(records))
    decided = [batch.decided(output) for output in outputs]
    logits = torch.stack([each.answers().detach() for each in decided])
    given = logits.argmax(2)  # [draws, Q]
    shares = one_hot(given, logits.shape[2]).double().mean(0)
    likelier = logits.double().softmax(2).mean(0) / (2 * len(decided))  # less than one draw: it counts in a tie alone
    chosen = (shares + likelier).argmax(1)
    first = (given == chosen).int().argmax(0)  # the first draw that gives it
    scores = torch.stack([each.score for each in decided]).gather(0, first[None])[0]
    names = names_of(records, question, logits.shape[2])
    return {
        image: Masked(names[answer], bool(score), float(shares[item, answer]))
        for item, (image, answer, score) in enumerate(
            zip(decided[0].owners(len(records)), chosen.tolist(), scores.tolist(), strict=True)
        )
    }


def names_of(records: Sequence[Record], question: Question, count: int) -> list[str]:
    """What the `count` answers are called: classes, the episode's own, the batch's pictures, or numbers from 1."""
    if question.answers:
        return list(question.answers)
    if question.first_query:
        return [record.class_name for record in records[: question.first_query : question.first_query // count]]
    return [f"picture {number}" if question.compares else str(number) for number in range(1, count + 1)]
