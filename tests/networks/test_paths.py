"""A guess of layers stands on the way to the output that counts, of networks with several heads or branches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import milr


class Heads(nn.Module):
    """Two answers [K, 10] and [K, 2] about one embedding [K, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.embed, self.age, self.kind = nn.Linear(8, 8), nn.Linear(8, 10), nn.Linear(8, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        embedding = self.embed(self.body(images).mean((2, 3))).relu()
        return {"age": self.age(embedding), "kind": self.kind(embedding)}


@pytest.mark.parametrize("output", ["age", "kind", lambda given: given["age"].softmax(1)])
def test_of_two_heads_neither_ones_answer_is_z(output: Any) -> None:
    layers = milr.MILR(Heads(), example=torch.randn(2, 3, 16, 16), output=output).layers
    assert (layers.local, layers.z, layers.dimension) == ("body", "embed", 8)


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, board: Tensor) -> Tensor:
        return board + self.other(self.one(board).relu())


class Tower(nn.Module):
    """Moves [K, 81] and a value [K, 1] of boards [K, 4, 9, 9], of which no layer changes the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.tower = nn.Conv2d(4, 8, 3, padding=1), nn.Sequential(*[Block() for _ in range(6)])
        self.moves, self.flat = nn.Conv2d(8, 1, 1), nn.Conv2d(8, 1, 1)
        self.hidden, self.value = nn.Linear(81, 16), nn.Linear(16, 1)

    def forward(self, board: Tensor) -> tuple[Tensor, Tensor]:
        board = self.tower(self.stem(board))
        return self.moves(board).flatten(1), self.value(self.hidden(self.flat(board).flatten(1)).relu())


@pytest.mark.parametrize(("output", "z"), [("0", "tower.5"), ("1", "hidden")])
def test_of_a_tower_of_one_resolution_an_early_block_is_explained_and_z_is_the_own_heads(output: str, z: str) -> None:
    layers = milr.MILR(Tower(), example=torch.randn(2, 4, 9, 9), output=output).layers
    assert (layers.local.split(".")[0], layers.z, layers.grid) == ("tower", z, (9, 9))
    assert layers.local in ("tower.0", "tower.1") and len(layers.stages) == 4


class Branches(nn.Module):
    """Two branches in a list, of which the second alone is read where the first was mixed into it: [K, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.last = Mixed(), Mixed()
        self.pool, self.head = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        both = self.last(self.mixed([images, images]))
        return self.head(self.pool(both[1]).flatten(1))


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.LazyConv2d(8, 3, 2, 1), nn.LazyConv2d(8, 3, 2, 1)

    def forward(self, both: list[Tensor]) -> list[Tensor]:
        one = self.one(both[0]).relu()
        return [one, self.other(both[1]).relu() + one.mean((2, 3), keepdim=True)]


def test_of_branches_the_local_layer_is_one_that_z_depends_on() -> None:
    network, images = Branches(), torch.randn(2, 3, 64, 64)
    network(images)
    layers = milr.MILR(network, example=images).layers
    assert layers.z == "pool"
    first = layers.first_pass(images)
    changed = layers.second_pass(first.local.flip(0), images)
    assert not torch.equal(changed.representation, first.representation)
