"""Episodes: a function of (seed, number), without repetition, with clear refusals."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from milr.data.episodes import draw_episode, draw_episodes
from milr.errors import MilrError

LABELS = torch.arange(10).repeat_interleave(8)[torch.randperm(80, generator=torch.Generator().manual_seed(0))]


def test_episode_k_depends_on_seed_and_k_alone() -> None:
    several = draw_episodes(LABELS, 5, 1, 3, seed=4, numbers=range(20))
    torch.manual_seed(99)
    alone = draw_episode(LABELS, 5, 1, 3, seed=4, number=13)
    assert alone.classes == several[13].classes
    assert torch.equal(alone.support, several[13].support) and torch.equal(alone.query, several[13].query)
    assert alone.classes != draw_episode(LABELS, 5, 1, 3, seed=5, number=13).classes


def test_rows_belong_to_their_class_and_no_picture_comes_twice() -> None:
    for episode in draw_episodes(LABELS, 5, 2, 3, seed=0, numbers=range(50)):
        assert episode.support.shape == (5, 2) and episode.query.shape == (5, 3)
        together = torch.cat([episode.support, episode.query], dim=1)
        assert (LABELS[together] == torch.tensor(episode.classes)[:, None]).all()
        assert together.unique().numel() == 25 and len(set(episode.classes)) == 5


def test_every_class_and_picture_gets_its_turn() -> None:
    drawn = draw_episodes(LABELS, 5, 1, 2, seed=0, numbers=range(300))
    assert torch.cat([torch.cat([e.support, e.query], 1).flatten() for e in drawn]).unique().numel() == 80


@pytest.mark.parametrize(("way", "shot", "query"), [(11, 1, 1), (5, 4, 5)])
def test_too_few_classes_or_pictures_are_told_with_numbers(way: int, shot: int, query: int) -> None:
    with pytest.raises(MilrError, match=rf"needs {way} classes with {shot + query} pictures each"):
        draw_episode(LABELS, way, shot, query, seed=0, number=0)


def test_the_advice_leads_to_an_episode() -> None:
    with pytest.raises(MilrError, match="1 of 1 classes have as many: there must be at least 2 classes$"):
        draw_episode(torch.zeros(20, dtype=torch.int64), 5, 1, 1, seed=0, number=0)
    with pytest.raises(MilrError, match="1 of 2 classes have as many: lower episode.shot or query$"):
        draw_episode(torch.tensor([0] * 9 + [1] * 2), 2, 1, 4, seed=0, number=0)


def test_classes_with_too_few_pictures_are_passed_over() -> None:
    labels = torch.tensor([0] * 2 + [1] * 8 + [2] * 8)
    assert {c for e in draw_episodes(labels, 2, 1, 4, 0, range(20)) for c in e.classes} == {1, 2}


def test_the_labels_are_sorted_once_for_all_episodes(monkeypatch: pytest.MonkeyPatch) -> None:
    sort, calls = torch.Tensor.sort, list[Tensor]()
    monkeypatch.setattr(torch.Tensor, "sort", lambda labels, **how: calls.append(labels) or sort(labels, **how))
    assert len(draw_episodes(LABELS, 5, 1, 5, seed=0, numbers=range(100))) == 100
    assert len(calls) == 1


def test_a_class_with_one_picture_is_never_drawn_and_never_fatal() -> None:
    labels = torch.tensor([3] * 5 + [7] + [9] * 5)
    episodes = draw_episodes(labels, 2, 1, 1, seed=0, numbers=range(30))
    assert {label for episode in episodes for label in episode.classes} == {3, 9}
    with pytest.raises(MilrError, match="2 of 3 classes have as many"):
        draw_episode(labels, 3, 1, 1, seed=0, number=0)


@given(
    st.lists(st.integers(-1, 6), max_size=40),
    st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1), st.integers(0, 10**6),
)  # fmt: skip
def test_any_labels_give_a_valid_episode_or_a_refusal_that_is_true(
    labels: list[int], way: int, shot: int, query: int, seed: int, number: int
) -> None:
    large = {label for label in labels if labels.count(label) >= shot + query}
    try:
        episode = draw_episode(torch.tensor(labels, dtype=torch.int64), way, shot, query, seed, number)
    except MilrError as error:
        assert len(large) < way and f"{len(large)} of {len(set(labels))} classes" in str(error)
        return
    drawn = torch.cat([episode.support, episode.query], dim=1)
    assert drawn.shape == (way, shot + query) and drawn.unique().numel() == drawn.numel()
    assert len(set(episode.classes)) == way and set(episode.classes) <= large
    assert [[labels[index] for index in row] for row in drawn.tolist()] == [
        [label] * (shot + query) for label in episode.classes
    ]
