"""The fitted explainer of a run, on the network it was fitted to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from milr.stages.checkpoints import load_checkpoint
from milr.stages.devices import dtype_of, example_images
from milr.stages.sources import SourceRun, find_parent

if TYPE_CHECKING:
    import torch

    from milr.explanation.milr import MILR
    from milr.networks.protonet import PrototypicalNetwork


def load_explainer(
    source: SourceRun, backbone: str, size: int, device: torch.device, precision: str = "float32"
) -> tuple[MILR, PrototypicalNetwork]:
    """Both from their checkpoints. MilrError if one is truncated, foreign, changed since, or of another backbone."""
    from milr.explanation.milr import MILR
    from milr.networks.protonet import PrototypicalNetwork

    state = load_checkpoint(find_parent(source).checkpoint, "protonet")
    network = PrototypicalNetwork.from_state(state, backbone).to(device)
    fitted = load_checkpoint(source.checkpoint, "milr")
    return MILR.load(network.network, fitted, example_images(size, device), dtype_of(precision)), network
