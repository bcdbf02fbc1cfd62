"""A fit that is stopped at any step of any of its phases, and resumed, ends bit for bit as one that was not."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from states import same_modules
from toy import SHORT, batch, pictures, prepared

from milr.explanation.fitting import fit
from milr.explanation.milr import MILR
from milr.explanation.settings import BottleneckSettings, CriticSettings, FitSettings, InfomaxSettings, MilrSettings
from milr.training.continuation import Continuation, State

HELD_OUT = [batch(5000), batch(5001)]
SETTINGS = {
    "capacity": MilrSettings(),
    "variational": MilrSettings(
        bottleneck=BottleneckSettings(kind="variational"),
        infomax=InfomaxSettings(dropout=0.3, map="sample", denominator="places"),
    ),
    "representation": MilrSettings(
        redundancy="representation", infomax=InfomaxSettings(map="place", denominator="same_place")
    ),
}
HOW = FitSettings(critic=SHORT, steps=8, learning_rate=0.05, validate_every=4)
STOPS = {  # in each phase, and at its first and last step
    "capacity": (1, 3, 6, 7, 11, 14, 15, 18, 20),
    "variational": (1, 5, 7, 14, 17, 20),
    "representation": (3, 6, 11, 14, 15, 19),
}
STEPS = SHORT.steps + HOW.steps + SHORT.steps  # they are counted through: critic, mask, pairs


def through_a_file(state: State) -> State:
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return dict(torch.load(file, weights_only=True))


def states_of(explainer: MILR, how: FitSettings) -> tuple[int, dict[int, State]]:
    """A fit's kept step and its states, saved at every step."""
    states: dict[int, State] = {}

    def note(step: int, take: Callable[[], State]) -> None:
        states[step] = through_a_file(take())

    return fit(explainer, batch, how, HELD_OUT, continuation=Continuation(None, note)), states


@pytest.mark.slow
@pytest.mark.parametrize("kind", SETTINGS)
def test_resumed_after_any_step_it_ends_bit_for_bit_the_same(kind: str) -> None:
    settings, images = SETTINGS[kind], pictures(4, seed=3)[0]
    whole = prepared(settings, fitted=False)
    kept, states = states_of(whole, HOW)
    maps = whole.maps(images)
    assert list(states) == [*range(1, STEPS + 1)]
    assert all(state["step"] == step for step, state in states.items())
    for stop in STOPS[kind]:
        resumed, steps = prepared(settings, fitted=False), list[int]()
        torch.manual_seed(stop)  # another process draws other numbers
        assert torch.rand(stop).shape == (stop,)
        going_on = Continuation(states[stop], lambda step, take, steps=steps: steps.append(step))  # type: ignore[misc]
        assert fit(resumed, batch, HOW, HELD_OUT, continuation=going_on) == kept
        assert steps == [*range(stop + 1, STEPS + 1)]
        assert same_modules(resumed, whole) and resumed.fitted, stop
        assert torch.equal(resumed.maps(images).redundant, maps.redundant)


def test_stopped_where_it_is_and_resumed_it_ends_the_same() -> None:
    """As `test_resumed_after_any_step`, but the fit really stops: once in each phase, each time going on."""
    whole, resumed = prepared(fitted=False), prepared(fitted=False)
    kept, _ = states_of(whole, HOW)
    state: State | None = None
    for stop in (4, 10, 16):
        seen: list[State] = []

        def note(step: int, take: Callable[[], State], stop: int = stop, seen: list[State] = seen) -> None:
            if step == stop:
                seen.append(through_a_file(take()))
                raise KeyboardInterrupt

        resumed = prepared(fitted=False)
        with pytest.raises(KeyboardInterrupt):
            fit(resumed, batch, HOW, HELD_OUT, continuation=Continuation(state, note))
        state = seen[0]
    resumed = prepared(fitted=False)
    assert fit(resumed, batch, HOW, HELD_OUT, continuation=Continuation(state)) == kept
    assert same_modules(resumed, whole) and resumed.fitted


@pytest.mark.slow
def test_a_critic_whose_rate_fell_goes_on_at_the_rate_it_had() -> None:
    """Patience ends the critic's fit early, so that fewer steps than settings.critic.steps are seen."""
    critic = CriticSettings(steps=60, images=8, places=8, validate_every=1, patience=1, learning_rate=0.05)
    how = replace(HOW, critic=critic, steps=2)
    whole = prepared(fitted=False)
    kept, states = states_of(whole, how)
    rates = [state["loop"]["optimiser"]["param_groups"][0]["lr"] for step, state in states.items() if step <= 60]
    assert rates[0] == 0.05 and rates[-1] < 0.05 / 3 and len(rates) < 60
    for stop in (len(rates), len(rates) - 1, len(rates) - 2, max(states)):
        resumed = prepared(fitted=False)
        assert fit(resumed, batch, how, HELD_OUT, continuation=Continuation(states[stop])) == kept
        assert same_modules(resumed, whole), stop


@pytest.mark.slow
def test_a_mask_that_had_no_patience_left_makes_no_further_step() -> None:
    how = replace(HOW, learning_rate=1e-30, patience=1, decays=1, steps=20)  # too small to change a weight
    whole, resumed, steps = prepared(fitted=False), prepared(fitted=False), list[int]()
    kept, states = states_of(whole, how)
    mask = [step for step, state in states.items() if state["phase"] == "mask"]
    assert mask == [*range(7, 23)]  # 16 steps: beta rises until the 10th, and the 12th and 16th were in vain
    going_on = Continuation(states[22])
    assert (
        fit(resumed, batch, how, HELD_OUT, lambda step, terms: steps.append(step), continuation=going_on) == kept == 4
    )
    assert steps == [] and same_modules(resumed, whole)
