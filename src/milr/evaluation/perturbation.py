"""Does it matter to the decision? Keep or remove the places that a map ranks highest, and let the network decide."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, cross_entropy

from milr.evaluation.location import ranked
from milr.explanation.fitting import Decision
from milr.information.bottleneck import occlude
from milr.networks.layers import FirstPass, LayerPair


def highest(heat: Tensor, share: float, seed: int) -> Tensor:
    """The `share` (0 to 1) highest places of each map [K, H, W], ties broken by the seed: bool [K, H, W]."""
    count = round(share * heat[0].numel())
    chosen = torch.zeros_like(heat, dtype=torch.bool).flatten(1)
    for number, values in enumerate(heat.flatten(1)):
        chosen[number, ranked(values, seed + number)[:count]] = True
    return chosen.view_as(heat)


@torch.no_grad()
def decide_with(
    layers: LayerPair, first: FirstPass, images: Tensor, decide: Decision, kept: Tensor, fill: str, noise: Tensor
) -> dict[str, Tensor]:
    """The network's decision when only the places `kept` (bool [K, H, W]) stay, the rest filled as the mask fills.

    Returns for each query "accuracy" (0 or 1) and "loss" (cross-entropy in nats) [Q], and for each image "cosine"
    [K], between its representation and the untouched one. Supports and queries are treated alike. A copy is filled.
    """
    occluded = occlude(first.local, kept[:, None].to(first.local.dtype), fill, noise)
    second = layers.second_pass(occluded, images)
    logits, labels = decide(second.output)
    return {
        "accuracy": (logits.argmax(1) == labels).double().cpu(),
        "loss": cross_entropy(logits, labels, reduction="none").double().cpu(),
        "cosine": cosine_similarity(second.representation, first.representation).double().cpu(),
    }


def area_between(keep: Tensor, remove: Tensor, shares: Tensor) -> Tensor:
    """Mean height between the keep and the remove curve [..., S] over `shares` [S], by trapezia: [...].

    Higher is better for what claims to matter; a map unrelated to the decision gets what a random one gets.
    """
    return torch.trapezoid(keep - remove, shares, dim=-1) / (shares[-1] - shares[0])
