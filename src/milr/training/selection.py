"""Which weights of a training are kept: those that do best on the validation classes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milr.errors import MilrError
from milr.training.distributed import from_first
from milr.training.interpolation import SHARES, between

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Trained:
    """The state that did best on the validation classes."""

    weights: Weights
    step: int
    accuracy: float
    share: float = 1.0  # of the way from the first weights to those of the step


class Selection:
    """The best weights of a network so far, by an accuracy that the first process alone measures.

    Args:
        network: whose weights change between two updates.
        validate: its accuracy on the validation classes.
        on_validation: called at each update with the step, the accuracy, and whether it is the best.
        device: the network's.
    """

    def __init__(
        self,
        network: nn.Module,
        validate: Callable[[nn.Module], float],
        on_validation: Callable[[int, float, bool], None] | None,
        device: torch.device,
    ) -> None:
        self.network, self.validate, self.on_validation, self.device = network, validate, on_validation, device
        self._best: Trained | None = None

    @property
    def best(self) -> Trained:
        """The best so far; there is one after the first update."""
        assert self._best is not None
        return self._best

    def update(self, step: int) -> None:
        """Validates the network as it is after this step, and keeps its weights if they are the best."""
        accuracy = self._measured()
        better = self._best is None or accuracy > self._best.accuracy
        if better:
            self._best = Trained(copy.deepcopy(self.network.state_dict()), step, accuracy)
        if self.on_validation:
            self.on_validation(step, accuracy, better)

    def interpolate(self, first: Weights) -> None:
        """Validates weights between the first ones and the best too; does nothing where the first are the best."""
        tried = [self.best]
        for share in SHARES if self.best.step else ():
            weights = between(first, self.best.weights, share)
            self.network.load_state_dict(weights)
            tried.append(Trained(weights, self.best.step, self._measured(), share))
        self._best = max(tried, key=lambda trained: trained.accuracy)

    def resume(self, best: Trained) -> None:
        """Goes on from the best of an earlier training."""
        self._best = best

    def restore(self) -> None:
        """Puts the best weights back into the network."""
        self.network.load_state_dict(self.best.weights)

    def _measured(self) -> float:
        """The accuracy, the same in every process."""
        return from_first(self._validated, self.device)

    def _validated(self) -> float:
        """The accuracy; an error of the validation leaves the network in its best state so far."""
        try:
            return self.validate(self.network)
        except MilrError:
            if self._best:
                self.restore()
            raise
