"""A linear head on embeddings: the solution of its penalised loss, and the penalty that held-out pictures choose."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from milr.decisions.heads import fitted, head_from, linear_head


def embeddings(count: int, seed: int) -> Tensor:
    """Dimensions of very different scales, and one that never changes."""
    drawn = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    return drawn * torch.tensor([100.0, 1, 1, 0.01, 1, 0]) + 5


def test_ridge_regression_has_its_closed_form() -> None:
    features = embeddings(200, 0)
    targets = features[:, :2] / torch.tensor([100.0, 1]) + torch.randn(
        200, 2, generator=torch.Generator().manual_seed(1)
    )
    head = fitted(features, targets, 2, torch.nn.functional.mse_loss, penalty=0.1)
    centred, scale = features - features.mean(0), features.std(0).clamp(min=1e-6)
    scaled = (centred / scale).double()
    # The mean over two columns halves each one's squared error.
    solved = torch.linalg.solve(
        scaled.T @ scaled / 400 + 0.1 * torch.eye(6), scaled.T @ (targets - targets.mean(0)).double() / 400
    )
    expected = scaled @ solved + targets.mean(0)
    assert torch.allclose(head(features).double(), expected, atol=1e-3)


@pytest.mark.parametrize("kind", ["classes", "labels"])
def test_what_a_plane_tells_apart_is_told_apart_on_held_out_pictures(kind: str) -> None:
    train, held_out = embeddings(300, 0), embeddings(100, 1)

    def targets(features: Tensor) -> Tensor:
        first, second = features[:, 0] > 5, features[:, 1] > 5
        return (first.long() + 2 * second.long()) if kind == "classes" else torch.stack([first, second], 1).float()

    head = linear_head(kind, (train, targets(train)), (held_out, targets(held_out)))
    answer = head(held_out).argmax(1) if kind == "classes" else (head(held_out) > 0).float()
    assert (answer == targets(held_out)).float().mean() > 0.9
    assert not any(parameter.requires_grad for parameter in head.parameters())
    again = head_from(head.state_dict(), torch.device("cpu"))
    assert torch.equal(again(held_out), head(held_out))


def test_embeddings_that_say_nothing_get_the_strongest_penalty() -> None:
    train, held_out = embeddings(40, 2), embeddings(40, 3)
    chance = torch.Generator().manual_seed(4)
    targets = [torch.randn(40, 1, generator=chance) for _ in range(2)]
    free = fitted(train, targets[0], 1, torch.nn.functional.mse_loss, penalty=1e-4)
    chosen = linear_head("regression", (train, targets[0]), (held_out, targets[1]))
    assert chosen(held_out).std() < free(held_out).std()
