from __future__ import annotations

from pathlib import Path

import pytest
import torch

from milr.data.records import Record
from milr.decisions.answers import DISTANCE, Masked, answers_of, masked_answers
from milr.decisions.batches import query_distances
from milr.decisions.comparisons import pairs
from milr.decisions.decision_kinds import classify, multilabel
from milr.decisions.questions import Question, episodes
from milr.networks.settings import MetricSettings


def records(*classes: str) -> list[Record]:
    return [Record(number, Path(f"{number}.jpg"), 1, name) for number, name in enumerate(classes)]


def nothing_drawn(pool: object, number: int) -> torch.Tensor:
    return torch.zeros(0, dtype=torch.long)


def test_an_episode_tells_each_query_s_distances_under_the_classes_names() -> None:
    metric, shape = MetricSettings(), (2, 2, 1)  # two supports a class
    output = torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1], [0.9, 0.1], [0.8, 0.2]])
    distances = query_distances(output, shape, metric, None)
    pictures = records("wren", "wren", "tit", "tit", "wren", "tit")
    rows = answers_of(pictures, episodes(shape, metric, None, seed=0), output, distances)
    assert [(row.image, row.answer, row.score) for row in rows] == [
        (4, "wren", 1.0),
        (4, "tit", 1.0),
        (5, "wren", 0.0),  # nearer to the wrens
        (5, "tit", 0.0),
    ]
    assert torch.tensor([row.value for row in rows]).view(2, 2).allclose(distances)
    assert {row.quantity for row in rows} == {DISTANCE}


def test_classes_have_their_names_and_logits() -> None:
    question = Question(nothing_drawn, lambda records: classify([0, 1]), answers=["wren", "tit"])
    rows = answers_of(records("wren", "tit"), question, torch.tensor([[2.0, 1], [3, 1]]))
    assert [(row.image, row.answer, row.value, row.score) for row in rows] == [
        (0, "wren", 2.0, 1.0),
        (0, "tit", 1.0, 1.0),
        (1, "wren", 3.0, 0.0),
        (1, "tit", 1.0, 0.0),
    ]


def test_pairs_are_answered_by_pictures() -> None:
    question = Question(nothing_drawn, lambda records: pairs([1, 1, 2, 2]), compares=True)
    rows = answers_of(records("a", "a", "b", "b"), question, torch.eye(4))
    assert [row.answer for row in rows[:4]] == [f"picture {number}" for number in (1, 2, 3, 4)]


def test_through_the_mask_the_answer_of_most_draws_is_given_and_of_equally_many_the_likelier() -> None:
    """Classes: two of three draws say tit of the wren; of the tit one says wren, hardly, and one tit, surely."""
    question = Question(nothing_drawn, lambda records: classify([0, 1]), answers=["wren", "tit"])
    outputs = torch.tensor([[[9.0, 0], [1, 0]], [[0, 1], [0, 9]], [[0, 1], [0, 0]]])
    most = masked_answers(records("wren", "tit"), question, outputs)
    assert most[0] == Masked("tit", False, pytest.approx(2 / 3))
    assert masked_answers(records("wren", "tit"), question, outputs[:2])[1] == Masked("tit", True, 0.5)


def test_through_the_mask_queries_and_compared_pictures_have_answers_and_labels_have_none() -> None:
    shape, metric = (2, 1, 1), MetricSettings()
    own = torch.eye(2)[[0, 1, 1, 1]].expand(2, 4, 2)
    of_queries = masked_answers(records("a", "b", "a", "b"), episodes(shape, metric, None, seed=0), own)
    assert of_queries == {2: Masked("b", False, 1.0), 3: Masked("b", True, 1.0)}
    same = Question(nothing_drawn, lambda records: pairs([1, 1, 2, 2]), compares=True)
    alike = masked_answers(records("a", "a", "b", "b"), same, torch.eye(2)[[0, 0, 1, 0]].expand(2, 4, 2))
    assert alike[0] == Masked("picture 2", True, 1.0) and alike[3].right is False
    labels = Question(nothing_drawn, lambda records: multilabel(torch.ones(1, 2)))
    assert masked_answers(records("a"), labels, torch.zeros(3, 1, 2)) == {}
