"""A progress bar for each phase of a fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

from milr.bars import bar
from milr.explanation.objective import Terms
from milr.explanation.settings import FitSettings
from milr.information.units import bits

SHOWN = ("accuracy", "decision_bits", "mask_mean")  # of the terms
EVERY = 10  # steps between looks at the terms: each waits for the device


class Bars:
    """What `fit` calls after each step, as bars: `with Bars(settings, shown=True) as bars: fit(..., bars.on_step)`."""

    def __init__(self, settings: FitSettings, shown: bool) -> None:
        self.settings, self.shown = settings, shown
        self.bars: dict[str, tqdm[Any]] = {}

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *error: object) -> None:
        for each in self.bars.values():
            each.close()

    def advance(self, phase: str, step: int, total: int) -> tqdm[Any]:
        """Moves the phase's bar a step further and returns it; the one before it ends."""
        if phase not in self.bars:
            self.__exit__()
            self.bars[phase] = bar(total=total, initial=step - 1, desc=phase, unit="step", shown=self.shown)
        self.bars[phase].update()
        return self.bars[phase]

    def show_metrics(self, phase: str, metrics: dict[str, float]) -> None:
        """Shows some of the terms' metrics beside the phase's bar."""
        self.bars[phase].set_postfix({name: f"{metrics[name]:.3g}" for name in SHOWN}, refresh=False)

    def on_critic(self, phase: str, step: int, nats: float | None) -> None:
        """As `fit` calls it."""
        bar = self.advance(phase, step, self.settings.critic.steps)
        if nats is not None:
            bar.set_postfix({"held_out_bits": f"{bits(nats):.3f}"}, refresh=False)

    def on_step(self, step: int, terms: Terms) -> None:
        """As `fit` calls it."""
        self.advance("mask", step, self.settings.steps)
        if self.shown and step % EVERY == 0:
            self.show_metrics("mask", terms.metrics())


@contextmanager
def critic_bar(what: str, steps: int) -> Iterator[Callable[[int, float | None], None]]:
    """What a critic's fit calls after each of so many steps, as a bar."""
    with bar(total=steps, desc=what, unit="step") as moved:
        yield lambda step, nats: moved.update() and None
