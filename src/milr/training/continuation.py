"""How a long loop goes on where it was stopped, without knowing about files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

State = dict[str, Any]  # tensors and plain values


@dataclass(frozen=True)
class Continuation:
    """What a loop is given: where it was, and whom to tell where it is.

    `on_state(step, take)` is called at the end of every step; `take()` gives the state from which the loop can go on
    as if nothing had happened. It shares memory with the loop: save or copy it before the next step. What `on_state`
    raises ends the loop.
    """

    state: State | None = None  # what is under "step" is done; None: begin at the beginning
    on_state: Callable[[int, Callable[[], State]], None] = lambda step, take: None

    @property
    def done(self) -> int:
        """The steps that need not be done again."""
        return int(self.state["step"]) if self.state else 0
