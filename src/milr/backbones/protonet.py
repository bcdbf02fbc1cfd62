"""A trained prototypical network with everything that belongs to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from milr.backbones.backbones import load_weights, untrained
from milr.backbones.origins import Origin
from milr.data.augmentation import Normalisation
from milr.errors import MilrError
from milr.networks.freezing import frozen
from milr.networks.settings import MetricSettings


@dataclass(frozen=True)
class PrototypicalNetwork:
    """The backbone, how it compares, and what it has seen."""

    origin: Origin  # the backbone's name, and how it takes pictures
    network: nn.Module  # [K, 3, S, S] -> [K, D]
    metric: MetricSettings
    mean: Tensor  # [D], the mean representation of the training images; zeros where the metric does not centre
    classes: tuple[str, ...]  # names of the training classes

    def to(self, device: torch.device) -> PrototypicalNetwork:
        """The same on a device."""
        return replace(self, network=self.network.to(device), mean=self.mean.to(device))

    def state(self) -> dict[str, Any]:
        """Tensors and plain values for a checkpoint."""
        return {
            "backbone": self.origin.name,
            "origin": asdict(self.origin),
            "weights": self.network.state_dict(),
            "metric": asdict(self.metric),
            "mean": self.mean,
            "size": self.origin.size,
            "classes": list(self.classes),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], expected: str | None = None) -> PrototypicalNetwork:
        """What `state` gave, in `eval()`. MilrError for another backbone than `expected`, or parts that are missing."""
        missing = sorted({"backbone", "weights", "metric", "mean", "size", "classes"} - state.keys())
        if missing:
            raise MilrError(f"the checkpoint of the network lacks {', '.join(missing)}: it is of another version")
        if expected is not None and state["backbone"] != expected:
            raise MilrError(f"the checkpoint holds a {state['backbone']}, not a {expected}")
        saved = dict(state.get("origin") or {"name": state["backbone"], "source": "milr", "size": state["size"]})
        origin = Origin(**{**saved, "normalisation": Normalisation(**saved.get("normalisation", {}))})
        network = untrained(origin)
        load_weights(network, origin, state["weights"], "the checkpoint")
        return cls(origin, network.eval(), MetricSettings(**state["metric"]), state["mean"], tuple(state["classes"]))


@torch.no_grad()
def represent(network: nn.Module, batches: Any) -> Tensor:
    """Representations [n, D] of input batches [K, 3, S, S], in `eval()`; every module's mode is put back.

    MilrError if one of them is not finite: every comparison with NaN would count as a decision.
    """
    with frozen(network):
        return checked_finite(torch.cat([network(batch) for batch in batches]))


def checked_finite(representation: Tensor) -> Tensor:
    """The representations [n, D]; MilrError if one of them holds nan or inf."""
    broken = int((~torch.isfinite(representation)).any(1).sum())
    if broken:
        raise MilrError(
            f"the network gives nan or inf for {broken} of {len(representation)} pictures: its weights are damaged, or "
            "its training diverged (lower train.learning_rate)"
        )
    return representation
