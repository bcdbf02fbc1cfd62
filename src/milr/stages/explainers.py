"""The fitted explainer of a run, on the network it was fitted to."""

from __future__ import annotations

import torch

from milr.explanation.milr import MILR
from milr.explanation.saving import require_network
from milr.networks.protonet import PrototypicalNetwork
from milr.runs.checkpoints import load_checkpoint
from milr.runs.sources import SourceRun, find_parent
from milr.stages.devices import dtype_of, example_images


def load_explainer(
    source: SourceRun, backbone: str, size: int, device: torch.device, precision: str = "float32"
) -> tuple[MILR, PrototypicalNetwork]:
    """Both from their checkpoints. MilrError if one is truncated, foreign, changed since, or of another backbone."""
    parent = find_parent(source)
    state = load_checkpoint(parent.checkpoint, "protonet")
    network = PrototypicalNetwork.from_state(state, backbone).to(device)
    fitted = load_checkpoint(source.checkpoint, "milr")
    way_out = f"fit again on the present one: milr fit-milr source={parent.folder}"
    require_network(fitted.get("network_sha256"), network.network, way_out)
    example = example_images(size, device)
    return MILR.load(network.network, fitted, example, dtype_of(precision), check_network=False), network
