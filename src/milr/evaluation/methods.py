"""The maps to be compared: the three kinds of information, and controls and methods at the same layer."""

from __future__ import annotations

import torch
from torch import Tensor

from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR

KINDS = ("total", "decision", "redundant")
CONTROLS = ("random", "centre", "activation", "grad_cam")


def all_maps(explainer: MILR, batch: Batch, seed: int) -> dict[str, Tensor]:
    """Name -> [K, H, W] for every image of an episode."""
    first = explainer.layers.first_pass(batch.images)
    maps = explainer.maps(batch.images)
    shape = (len(batch.images), *first.local.shape[2:])
    return {
        **{kind: getattr(maps, kind).cpu() for kind in KINDS},
        "random": torch.rand(shape, generator=torch.Generator().manual_seed(seed)),
        "centre": centred_gaussian(shape[1], shape[2]).expand(shape),
        "activation": first.local.norm(dim=1).cpu(),
        "grad_cam": grad_cam(explainer, batch, first.local).cpu(),
    }


def centred_gaussian(height: int, width: int) -> Tensor:
    """exp(-r²/2) with r = 1 half-way to the border: what "birds are in the middle" alone can do, [H, W]."""
    rows = torch.linspace(-2, 2, height)[:, None]
    columns = torch.linspace(-2, 2, width)[None]
    return torch.exp(-(rows.square() + columns.square()) / 2)


def grad_cam(explainer: MILR, batch: Batch, local: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) at the local layer, to each query's logit of its predicted class: [K, H, W].

    A support gets the gradient through its prototype, from all queries that are decided for it.
    """
    local = local.clone().requires_grad_()
    logits, _ = batch.decide(explainer.layers.second_pass(local, batch.images).output)
    (gradient,) = torch.autograd.grad(logits.max(1).values.sum(), local)
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * local.detach()).sum(1).relu()
