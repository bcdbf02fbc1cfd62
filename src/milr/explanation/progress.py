"""Where a fit stands: everything that changes from step to step, so that it can go on after a stop."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from milr.explanation.modules import Modules, sample_locations
from milr.explanation.settings import FitSettings
from milr.networks.continuation import State


class Best:
    """The small modules as they were where the validation objective was lowest, and how long ago that was."""

    def __init__(self, modules: Modules) -> None:
        self.modules, self.objective, self.step, self.waited = modules, math.inf, 0, 0
        self.state = copy.deepcopy(modules.state_dict())

    def see(self, step: int, objective: float) -> None:
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
        return {"state": self.state, "objective": self.objective, "step": self.step, "waited": self.waited}

    def resume(self, state: State) -> None:
        """Puts back what `snapshot` gave."""
        self.objective, self.step, self.waited = state["objective"], state["step"], state["waited"]
        self.state = state["state"]


@dataclass(frozen=True)
class Progress:
    """Everything that changes from step to step; the batches are functions of the step."""

    modules: Modules
    optimiser: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    generator: torch.Generator
    queue: LocationQueue
    best: Best

    @classmethod
    def begin(cls, modules: Modules, settings: FitSettings, queue_size: int) -> Progress:
        """That of a fit before its first step."""
        optimiser = torch.optim.Adam(modules.parameters(), lr=settings.learning_rate)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
        generator = torch.Generator(modules.bank.device).manual_seed(settings.seed)
        return cls(modules, optimiser, schedule, generator, LocationQueue(queue_size), Best(modules))

    def snapshot(self, step: int) -> State:
        """All that the fit needs to go on after `step`."""
        return {
            "step": step,
            "modules": self.modules.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "queue": self.queue.locations,
            "best": self.best.snapshot(),
        }

    def resume(self, state: State) -> int:
        """Puts back what `snapshot` took; returns its step."""
        self.modules.load_state_dict(state["modules"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        locations = state["queue"]
        self.queue.locations = None if locations is None else locations.to(self.modules.bank.device)
        self.best.resume(state["best"])
        return int(state["step"])


class LocationQueue:
    """Local features of earlier batches [M, C]: more images in the estimator's denominator than one step holds.

    Not the reference bank: a critic that had seen the bank as nothing but negatives would score it too low, and the
    information of new images would come out too high.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.locations: Tensor | None = None

    def add(self, local: Tensor, generator: torch.Generator) -> None:
        """Adds a few random locations of every image of x [K, C, H, W]; 16 batches fill the queue."""
        if self.size:
            each = min(local.shape[2] * local.shape[3], max(1, self.size // (16 * len(local))))
            fresh = sample_locations(local, each, generator)
            joined = fresh if self.locations is None else torch.cat([self.locations, fresh])
            self.locations = joined[-self.size :]
