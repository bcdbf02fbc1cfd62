"""The critic's fit: when it stops, what it keeps, what it is drawn from."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from gaussian import correlation_of, gaussian_features, plain_critic
from states import states_equal
from torch import Tensor

from milr.errors import MilrError
from milr.explanation import critic_fitting, progress
from milr.explanation.critic_fitting import (
    CriticTask,
    critic_loss,
    fit_critic,
    held_out_nats,
    pair_scores,
    split_features,
)
from milr.explanation.features import Features
from milr.explanation.progress import DECAY
from milr.explanation.settings import CriticSettings
from milr.information.critic import Critic
from milr.information.infomax import batch_information
from milr.training.continuation import Continuation

RHO = torch.full((4,), correlation_of(1.0, 8))
TRAIN, HELD_OUT = gaussian_features(256, RHO, 8, seed=1), gaussian_features(128, RHO, 8, seed=2)
TASK = CriticTask(TRAIN, HELD_OUT)
HOW = CriticSettings(steps=40, images=32, places=4, validate_every=10)


def critic() -> Critic:
    return plain_critic(16, (1, 4))


def test_it_ends_where_it_found_most_in_the_held_out_images() -> None:
    fitted, seen = critic(), dict[int, float]()

    def note(step: int, nats: float | None) -> None:
        if nats is not None:
            seen[step] = nats

    how = replace(HOW, steps=200, validate_every=5, weight_decay=0, patience=0, learning_rate=0.02)  # it overfits
    kept = fit_critic(fitted, TASK, how, note)
    assert list(seen) == [*range(5, 201, 5)]
    assert seen[kept] == max(seen.values()) and kept < 200
    assert not fitted.training
    assert held_out_nats(fitted, TASK, how.images) == pytest.approx(seen[kept], abs=1e-6)
    assert seen[kept] > 0.3


def test_what_is_kept_is_the_mean_of_the_weights_of_a_tenth_of_the_steps_and_of_so_many_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "LONGEST", 50)
    weights = torch.nn.Linear(1, 1, bias=False)
    average = progress.moving_average(weights)
    for step in range(1501):
        torch.nn.init.constant_(weights.weight, step)
        average.update_parameters(weights)
        if step in (200, 400, 1500):  # of weights that grow by 1 a step it lags by as much as it reaches back
            assert step - average.module.weight.item() == pytest.approx(min(step / 10, 49), rel=0.1)
    assert not average.module.weight.requires_grad


def test_a_state_without_the_mean_of_the_weights_is_told() -> None:
    states: list[dict[str, Any]] = []
    noted = Continuation(None, lambda step, take: states.append(take()))
    fit_critic(critic(), TASK, replace(HOW, steps=1), continuation=noted)
    del states[0]["average"]
    with pytest.raises(MilrError, match="of an earlier version, without the mean of its weights"):
        fit_critic(critic(), TASK, replace(HOW, steps=2), continuation=Continuation(states[0]))


def test_the_last_step_is_validated_wherever_it_falls() -> None:
    seen: list[int] = []
    fit_critic(critic(), TASK, replace(HOW, steps=13), lambda step, nats: nats is None or seen.append(step))
    assert seen == [10, 13]


def test_when_it_has_stalled_the_rate_falls_and_then_it_ends() -> None:
    """A rate too small to change a weight: no estimate is better than the first one."""
    how = replace(HOW, steps=1000, learning_rate=1e-30, validate_every=2, patience=3)
    steps, rates = list[int](), list[float]()

    def note(step: int, take: Callable[[], dict[str, Any]]) -> None:
        rates.append(take()["optimiser"]["param_groups"][0]["lr"])

    kept = fit_critic(critic(), TASK, how, lambda step, nats: steps.append(step), Continuation(None, note))
    each = 2 * 3  # steps until three estimates were no better
    assert kept == 0 and steps == [*range(1, 3 * each + 1)]
    wanted = [DECAY**fall for fall in range(3) for _ in range(each)]
    assert [rate / 1e-30 for rate in rates] == pytest.approx(wanted)
    without = list[int]()
    fit_critic(critic(), TASK, replace(how, steps=50, patience=0), lambda step, nats: without.append(step))
    assert len(without) == 50


def test_a_fall_goes_on_from_the_best_step() -> None:
    fitted, at_start = critic(), list[Tensor]()
    how = replace(HOW, steps=1000, learning_rate=10.0, validate_every=1, patience=2)  # far too fast: it gets worse
    start = fitted.content.weight.detach().clone()

    def note(step: int, take: Callable[[], dict[str, Any]]) -> None:
        at_start.append((fitted.content.weight.detach() - start).abs().max())

    assert fit_critic(fitted, TASK, how, continuation=Continuation(None, note)) == 0
    # A step of Adam moves a weight by about its rate: after each fall they stand near the start again.
    assert len(at_start) == 6 and at_start[1] > 10 and at_start[2] < 10 and at_start[4] < 0.5 * at_start[1]
    assert torch.equal(fitted.content.weight, start)


@pytest.mark.parametrize("spoil", ["rate", "features"])
def test_a_loss_that_is_not_finite_puts_the_last_good_state_back_and_names_the_setting(spoil: str) -> None:
    fitted, task, how = critic(), TASK, HOW
    before = copy.deepcopy(fitted.state_dict())
    if spoil == "rate":
        how = replace(HOW, learning_rate=1e30)
    else:
        task = replace(TASK, train=replace(TRAIN, representation=TRAIN.representation * math.inf))
    with pytest.raises(MilrError, match=r"the critic's loss is not finite at step 10: lower critic.learning_rate"):
        fit_critic(fitted, task, how)
    assert states_equal(fitted.state_dict(), before)


@pytest.mark.slow
def test_shuffled_pairs_teach_nothing() -> None:
    fitted = critic()
    fit_critic(fitted, replace(TASK, shuffled=True), replace(HOW, steps=200, patience=0))
    assert abs(held_out_nats(fitted, TASK, 32)) < 0.03


def test_the_same_seed_gives_the_same_critic_and_another_one_another() -> None:
    states = []
    for seed in (0, 0, 1):
        fitted = critic()
        fitted.dropout.share = 0.3
        torch.rand(3)  # what else is drawn does not count
        fit_critic(fitted, replace(TASK, seed=seed), replace(HOW, steps=10))
        states.append(fitted.state_dict())
    assert states_equal(states[0], states[1]) and not states_equal(states[0], states[2])


def test_dropout_is_of_the_fits_steps_alone() -> None:
    fitted = critic()
    plain = held_out_nats(fitted, TASK, 32)
    fitted.dropout.share = 0.5
    assert held_out_nats(fitted.train(), TASK, 32) == plain
    weights = []
    for share in (0.0, 0.5):
        moved = critic()
        moved.dropout.share = share
        fit_critic(moved, TASK, replace(HOW, steps=5, validate_every=5, patience=0, learning_rate=0.01))
        weights.append(moved.representation[1].weight)
        assert moved.dropout.generator is None
    assert not torch.equal(*weights)


@pytest.mark.parametrize("denominator", ["places", "same_place", "representations"])
def test_a_loss_is_the_mean_over_the_kinds_of_pairs(denominator: str) -> None:
    fitted, task = critic(), replace(TASK, denominator=denominator)
    sample = TRAIN.draw(6, 3, torch.Generator().manual_seed(0), torch.device("cpu"))
    occluded, masked = torch.randn_like(sample.local), torch.randn_like(sample.representation)
    means = [
        batch_information(
            fitted.project_locations(local, sample.places), fitted.project_representation(z), denominator
        ).mean()
        for local, z in (
            (sample.local, sample.representation),
            (occluded, sample.representation),
            (sample.local, masked),
        )
    ]
    for given, wanted in (
        (sample, means[:1]),
        (replace(sample, occluded=occluded), means[:2]),
        (replace(sample, masked=masked), [means[0], means[2]]),
    ):
        assert len(pair_scores(fitted, given)) == len(wanted)
        assert torch.allclose(
            critic_loss(fitted, [given], task, torch.Generator()), -torch.stack(wanted).mean(), atol=1e-6
        )


def test_a_part_that_is_held_out_is_no_part_of_what_is_left() -> None:
    train, held_out = split_features(TRAIN)
    rows = [{tuple(row) for row in part.representation.tolist()} for part in (train, held_out)]
    assert len(rows[0]) == 205 and len(rows[1]) == 51 and not rows[0] & rows[1]
    assert [len(part) for part in split_features(TRAIN.at(torch.arange(4)))] == [2, 2]
    with pytest.raises(MilrError, match="the critic's fit has 3 images: it needs at least 4, half of them held out"):
        split_features(TRAIN.at(torch.arange(3)))


def test_fewer_images_and_places_than_a_step_wants_are_drawn_whole() -> None:
    tiny = Features(TRAIN.local[:5, :1], TRAIN.representation[:5], torch.tensor([2]), 1.0)
    assert fit_critic(critic(), CriticTask(tiny, tiny), replace(HOW, steps=5)) in range(6)


def test_a_fit_that_is_stopped_within_a_step_leaves_out_nothing_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*drawn: Any) -> Tensor:
        raise KeyboardInterrupt

    fitted = plain_critic(16, (1, 4))
    fitted.dropout.share = 0.5
    monkeypatch.setattr(critic_fitting, "critic_loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        fit_critic(fitted, TASK, HOW)
    assert fitted.dropout.generator is None
