"""Transformers whose tokens are no grid any more before the network ends: dropped, merged, or read by others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import milr


class Block(nn.Module):
    """Tokens that look at their mean and at themselves."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.mean, self.own = nn.LayerNorm(16), nn.Linear(16, 16), nn.Linear(16, 16)

    def forward(self, tokens: Tensor) -> Tensor:
        normed = self.norm(tokens)
        return tokens + self.mean(normed.mean(1, keepdim=True)) + self.own(normed).relu()


def best(tokens: Tensor) -> Tensor:
    """The class token, and of the others the 20 with the largest norm, in that order."""
    order = tokens[:, 1:].norm(dim=2).topk(20).indices + 1
    return torch.cat([tokens[:, :1], tokens.gather(1, order[..., None].expand(-1, -1, 16))], 1)


def pairs(tokens: Tensor) -> Tensor:
    """The class token, and the means of others that are alike."""
    order = tokens[:, 1:, 0].argsort(1) + 1
    ordered = tokens.gather(1, order[..., None].expand(-1, -1, 16))
    return torch.cat([tokens[:, :1], ordered.unflatten(1, (-1, 2)).mean(2)], 1)


class Fewer(nn.Module):
    """A class token and 64 patches through four blocks, most of which are gone before the third."""

    def __init__(self, fewer: str, end: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
        self.blocks, self.norm = nn.ModuleList(Block() for _ in range(4)), nn.LayerNorm(16)
        self.head = nn.Linear(16, 4) if "head" in end else nn.Identity()
        self.fewer, self.read = fewer, end.split()[0]

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch(images).flatten(2).transpose(1, 2)
        tokens = self.blocks[1](self.blocks[0](torch.cat([self.token.expand(len(images), -1, -1), patches], 1)))
        tokens = {"best": best, "pairs": pairs}[self.fewer](tokens)
        tokens = self.norm(self.blocks[3](self.blocks[2](tokens)))
        return self.head(tokens[:, 0] if self.read == "class" else tokens.mean(1))


@pytest.mark.parametrize("fewer", ["best", "pairs"])
@pytest.mark.parametrize("end", ["class token and a head", "mean and a head", "class token", "mean"])
def test_z_is_what_the_network_ends_with_and_no_token_of_before(fewer: str, end: str) -> None:
    network, images = Fewer(fewer, end), torch.rand(4, 3, 32, 32)
    expected = []
    hook = network.head.register_forward_hook(lambda module, given, made: expected.append(given[0]))
    for names in ((), ("blocks.0", "norm")):
        pair = milr.MILR(network, *names, example=images).layers
        assert pair.local in ("blocks.0", "patch") and pair.z in ("norm", "head.input")
        torch.testing.assert_close(pair.first_pass(images).representation, expected[-1])
    hook.remove()


class Both(Fewer):
    """All tokens stay, and the answer is the mean of one to the class token and, of `all_of_it`, one to the places."""

    def __init__(self, all_of_it: bool) -> None:
        super().__init__("best", "class token and a head")
        self.all_of_it = all_of_it

    def forward(self, images: Tensor) -> Tensor:
        patches = self.patch(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.read_by_head(self.norm(tokens))

    def read_by_head(self, tokens: Tensor) -> Tensor:
        return self.head(tokens[:, 0]) + self.head(tokens[:, 1:].mean(1)) * self.all_of_it


class Beside(Both):
    """The head reads the class token beside the mean of the places, as of DINOv2."""

    def __init__(self) -> None:
        super().__init__(all_of_it=True)
        self.head = nn.Linear(32, 4)

    def read_by_head(self, tokens: Tensor) -> Tensor:
        return self.head(torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1))


def test_a_head_that_reads_the_mean_beside_the_class_token_gives_z() -> None:
    layers = milr.MILR(Beside(), example=torch.rand(2, 3, 32, 32)).layers
    assert (layers.z, layers.dimension) == ("head.input", 32)


@pytest.mark.parametrize("all_of_it", [True, False])
def test_an_answer_to_more_than_the_class_token_is_warned_of(all_of_it: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert milr.MILR(Both(all_of_it), example=torch.rand(2, 3, 32, 32)).layers.z == "norm"
    assert ("depends on other tokens of 'norm' than token 0" in caplog.text) is all_of_it
