"""Accuracy over episodes: certain, hopeless and in between."""

import math

import pytest
import torch

from milr.data.episodes import draw_episodes
from milr.evaluation import accuracy
from milr.evaluation.accuracy import episode_accuracies, mean_and_interval
from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings

LABELS = torch.arange(8).repeat_interleave(12)
EPISODES = draw_episodes(LABELS, 5, 2, 4, seed=0, numbers=range(300))


@pytest.mark.parametrize("metric", [MetricSettings(), MetricSettings("cosine", 0.1)])
def test_separate_classes_are_always_right(metric: MetricSettings) -> None:
    representation = torch.eye(8)[LABELS] + 0.01 * torch.randn(96, 8)
    assert episode_accuracies(representation, EPISODES, metric).min() == 1


def test_representations_without_the_class_give_chance() -> None:
    # Ten representations: the episodes of one share its pictures, so that its mean strays more than its interval says.
    draws = [episode_accuracies(torch.randn(96, 8), EPISODES, MetricSettings()) for _ in range(10)]
    assert torch.cat(draws).mean() == pytest.approx(0.2, abs=0.02)


def test_each_episode_is_what_its_own_arithmetic_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    representation = torch.eye(8)[LABELS] + 0.8 * torch.randn(96, 8, generator=torch.Generator().manual_seed(0))
    whole = episode_accuracies(representation, EPISODES, MetricSettings())
    labels = torch.arange(5).repeat_interleave(4)
    for episode, found in list(zip(EPISODES, whole, strict=True))[:20]:
        prototype = prototypes(representation[episode.support])
        scores = logits(representation[episode.query.flatten()], prototype, MetricSettings())
        assert found == (scores.argmax(1) == labels).float().mean()
    monkeypatch.setattr(accuracy, "CHUNK", 7)
    assert torch.equal(episode_accuracies(representation, EPISODES, MetricSettings()), whole)


@pytest.mark.parametrize(
    "metric",
    [MetricSettings(), MetricSettings("cosine", 0.1), MetricSettings(centre=True), MetricSettings("cosine", 1, True)],
)
@pytest.mark.parametrize("shot", [1, 3])
def test_a_table_of_products_orders_the_classes_as_the_logits_do(
    metric: MetricSettings, shot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    representation = torch.eye(8)[LABELS] + 0.8 * torch.randn(96, 8) + 2
    mean = representation.mean(0)
    episodes = draw_episodes(LABELS, 5, shot, 4, seed=1, numbers=range(50))
    with_table = episode_accuracies(representation, episodes, metric, mean)
    monkeypatch.setattr(accuracy, "MOST_PAIRS", 0)
    assert torch.equal(episode_accuracies(representation, episodes, metric, mean), with_table)
    assert 0.25 < with_table.mean() < 0.95


@pytest.mark.parametrize("pairs", [0, accuracy.MOST_PAIRS])
def test_an_offset_that_all_features_share_changes_no_decision(pairs: int, monkeypatch: pytest.MonkeyPatch) -> None:
    representation = torch.eye(8)[LABELS] + 0.02 * torch.randn(96, 8)
    monkeypatch.setattr(accuracy, "MOST_PAIRS", pairs)
    assert episode_accuracies(representation + 3000, EPISODES, MetricSettings()).min() == 1


def test_interval_is_1_96_standard_errors() -> None:
    values = torch.tensor([0.0, 1.0, 1.0, 0.0])
    mean, half = mean_and_interval(values)
    assert mean == 0.5 and half == pytest.approx(1.96 * math.sqrt(1 / 3) / 2)
    with pytest.raises(ValueError, match="at least 2"):
        mean_and_interval(values[:1])
