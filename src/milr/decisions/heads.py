"""A linear head on frozen embeddings: what a network without a classifier of its own decides by."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, mse_loss

log = logging.getLogger("milr")

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # of the weights' squares; the one with the lowest held-out loss is taken
STEPS = 200  # of L-BFGS

Loss = Callable[[Tensor, Tensor], Tensor]
LOSSES: dict[str, Loss] = {
    "classes": cross_entropy,
    "labels": binary_cross_entropy_with_logits,
    "regression": mse_loss,
}


def linear_head(kind: str, train: tuple[Tensor, Tensor], held_out: tuple[Tensor, Tensor]) -> nn.Linear:
    """Logistic regression (classes, labels) or ridge regression of targets on embeddings, by L-BFGS.

    Args:
        kind: a name of LOSSES.
        train: embeddings [n, D], and targets: class numbers [n], or [n, M].
        held_out: the same of other pictures, which choose the penalty.

    Returns:
        A layer [K, D] -> [K, classes or M], on the embeddings' device.
    """
    embeddings, targets = train
    columns = int(targets.max()) + 1 if kind == "classes" else targets.shape[1]
    loss = LOSSES[kind]
    heads = [fitted(embeddings, targets, columns, loss, penalty) for penalty in PENALTIES]
    with torch.no_grad():
        losses = [float(loss(head(held_out[0]), held_out[1])) for head in heads]
    best = min(range(len(heads)), key=losses.__getitem__)
    log.info(
        "linear head on %d embeddings: penalty %g, held-out loss %.3f", len(targets), PENALTIES[best], losses[best]
    )
    return heads[best].requires_grad_(False)


@torch.enable_grad()
def fitted(embeddings: Tensor, targets: Tensor, columns: int, loss: Loss, penalty: float) -> nn.Linear:
    """The layer whose loss on standardised embeddings plus the penalty is lowest; it takes them as they are."""
    mean, std = embeddings.mean(0), embeddings.std(0).clamp(min=1e-6)
    features = (embeddings - mean) / std
    weight = torch.zeros(columns, embeddings.shape[1], device=embeddings.device, requires_grad=True)
    bias = torch.zeros(columns, device=embeddings.device, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        """The loss, with its gradients at the head."""
        optimiser.zero_grad()
        value = loss(features @ weight.T + bias, targets) + penalty * weight.square().sum()
        torch.autograd.backward(value)
        return value

    optimiser.step(closure)
    head = nn.utils.skip_init(nn.Linear, embeddings.shape[1], columns, device=embeddings.device)
    with torch.no_grad():
        head.weight.copy_(weight / std)
        head.bias.copy_(bias - (weight / std) @ mean)
    return head


def head_from(state: dict[str, Tensor], device: torch.device) -> nn.Linear:
    """The layer with saved weights, frozen."""
    columns, dimensions = state["weight"].shape
    head = nn.utils.skip_init(nn.Linear, dimensions, columns, device=device)
    head.load_state_dict(state)
    return head.requires_grad_(False)
