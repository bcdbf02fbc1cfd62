"""Where a fit stands: everything that changes from step to step, so that it can go on after a stop."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from milr.errors import MilrError
from milr.training.continuation import Continuation, State

Weights = tuple[Tensor, ...] | list[Tensor]

DECAY = 0.3  # of the learning rate
LONGEST = 500  # steps over which the moving average of weights reaches: at first a tenth of those made


class Best:
    """The modules as they were where the validation objective was lowest, and how long ago that was.

    Attributes:
        waited: validations since then, or since the rate fell.
        decays: how often the rate fell.
    """

    def __init__(self, modules: nn.Module) -> None:
        self.modules, self.objective, self.step, self.waited = modules, math.inf, 0, 0
        self.decays = 0
        self.state = copy.deepcopy(modules.state_dict())

    def update(self, step: int, objective: float) -> None:
        """Takes the present state if it is better than all before."""
        self.waited += 1
        if objective < self.objective:
            self.objective, self.step, self.waited = objective, step, 0
            self.state = copy.deepcopy(self.modules.state_dict())

    def restore(self) -> None:
        """Puts the best state back."""
        self.modules.load_state_dict(self.state)

    def snapshot(self) -> State:
        """All of it but the modules."""
        counts = {"step": self.step, "waited": self.waited, "decays": self.decays}
        return {"state": self.state, "objective": self.objective, **counts}

    def resume(self, state: State) -> None:
        """Puts back what `snapshot` gave."""
        self.objective, self.step, self.waited = state["objective"], state["step"], state["waited"]
        self.state, self.decays = state["state"], state["decays"]


def moving_average(modules: nn.Module) -> AveragedModel:
    """A copy of the modules whose weights are the moving average of theirs, after each `update_parameters`.

    Steps at one rate circle around where they lead to; their mean is nearer to it (Polyak, Juditsky 1992). It reaches
    over a tenth of the steps made, and over `LONGEST` at most, so that it leaves the first weights behind.
    """

    @torch.no_grad()
    def average(averages: Weights, weights: Weights, count: Tensor | int) -> None:
        """One more step."""
        torch._foreach_lerp_(averages, weights, max(9 / (int(count) + 10), 1 / LONGEST))

    return AveragedModel(modules, multi_avg_fn=average).requires_grad_(False)


@dataclass(frozen=True)
class Progress:
    """Everything that changes from step to step; what a step is given is a function of its number.

    Attributes:
        average: of the modules' weights; the best state is one of these averages.
    """

    modules: nn.Module
    optimiser: torch.optim.Optimizer
    generator: torch.Generator
    best: Best
    average: AveragedModel

    def step(self) -> None:
        """Makes a step by the gradients at hand, and takes it into the average."""
        self.optimiser.step()
        self.average.update_parameters(self.modules)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The modules with the average of their weights, within."""
        own = copy.deepcopy(self.modules.state_dict())
        self.modules.load_state_dict(self.average.module.state_dict())
        try:
            yield
        finally:
            self.modules.load_state_dict(own)

    def goes_on(self, patience: int, decays: int) -> bool:
        """Whether there is a next step. After `patience` validations without a better one the rate falls first, and
        the fit goes on from the best step; after `decays` such falls it ends. A patience of 0 never ends."""
        if not patience or self.best.waited < patience:
            return True
        if self.best.decays >= decays:
            return False
        self.decay()
        return True

    def decay(self) -> None:
        """Goes back to the best state and on from there at a lower rate: steps of the old one only circle around it."""
        self.restore()
        self.best.waited, self.best.decays = 0, self.best.decays + 1
        for group in self.optimiser.param_groups:
            group["lr"] *= DECAY

    def restore(self) -> None:
        """Puts the best state back, into the modules and their average."""
        self.best.restore()
        self.modules.load_state_dict(self.best.state)

    def snapshot(self, step: int) -> State:
        """All that the fit needs to go on after `step`."""
        return {
            "step": step,
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "generator": self.generator.get_state(),
            "best": self.best.snapshot(),
            "average": self.average.state_dict(),
        }

    def resume(self, state: State) -> None:
        """Puts back what `snapshot` took. MilrError for what an earlier version took."""
        if not state.get("average"):
            raise MilrError("the fit's state is of an earlier version, without the mean of its weights: fit anew")
        self.modules.load_state_dict(state["modules"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.generator.set_state(state["generator"])
        self.best.resume(state["best"])
        self.average.load_state_dict(state["average"])


class Phases:
    """Loops one after the other with one continuation: their steps are counted through.

    Attributes:
        result: what an earlier phase gave; it is saved with a later one.
    """

    NAMES = ("critic", "mask", "pairs")

    def __init__(self, continuation: Continuation, modules: nn.Module) -> None:
        self.continuation, self.modules, self.result = continuation, modules, 0

    def resume(self) -> None:
        """Puts all modules back as they were when the saved state's phase began."""
        if state := self.continuation.state:
            self.modules.load_state_dict(state["before"], strict=False)
            self.result = state["result"]

    def phase(self, name: str, steps_before: int) -> Continuation | None:
        """The continuation of one phase; None if it is done."""
        state = self.continuation.state
        if state and self.NAMES.index(state["phase"]) > self.NAMES.index(name):
            return None
        # Without the bank, which is large: `prepare` makes it again.
        before = {key: value.clone() for key, value in self.modules.state_dict().items() if "bank." not in key}
        result = self.result

        def on_state(step: int, take: Callable[[], State]) -> None:
            """Hand on the loop's state within that of the whole fit."""
            whole = steps_before + step
            state = {"step": whole, "phase": name, "before": before, "result": result}
            self.continuation.on_state(whole, lambda: {**state, "loop": take()})

        return Continuation(state["loop"] if state and state["phase"] == name else None, on_state)


@contextmanager
def without_gradients(modules: nn.Module) -> Iterator[None]:
    """No gradients to these modules' parameters; each is put back as it was."""
    wanted = [(parameter, parameter.requires_grad) for parameter in modules.parameters()]
    modules.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, requires in wanted:
            parameter.requires_grad_(requires)
