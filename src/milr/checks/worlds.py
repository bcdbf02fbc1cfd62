"""What a planted world is: pictures, a network, and the information that it has of every place.

Pictures are [3, 32, 32] with 8 x 8 places of 4 x 4 pixels. The network has the layers "layer1", the places' content,
and "avgpool", the representation. Nothing is random but the pictures: z is a function of them, and what z does not tell
of a place is drawn elsewhere in the same picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

GRID, PATCH = 8, 4  # places a side, and pixels of a place's side
PLACES = GRID * GRID
LAYERS = ("layer1", "avgpool")

SingleTruth = Callable[[str, Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class World:
    """Pictures, a network, and the truth.

    Attributes:
        name: in tables.
        network: takes pictures [K, 3, 32, 32]; layers LAYERS.
        truth: I(x_i; z) in bits [8, 8].
        pictures: (count, seed) -> pictures [count, 3, 32, 32].
        single: (reading, x [K, 64, C], z [K, D]) -> what a map's reading would be with the true densities, in bits
            [K, 8, 8]. Its mean over pictures is `truth`.
    """

    name: str
    network: nn.Module
    truth: Tensor
    pictures: Callable[[int, int], Tensor]
    single: SingleTruth


class Pooled(nn.Module):
    """layer1, layer2, avgpool: [K, 3, 32, 32] -> [K, D]."""

    def __init__(self, layer1: nn.Module, layer2: nn.Module) -> None:
        super().__init__()
        self.layer1, self.layer2, self.avgpool = layer1, layer2, nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """Pictures -> z."""
        representation: Tensor = self.avgpool(self.layer2(self.layer1(images))).flatten(1)
        return representation


def convolution(weight: Tensor, stride: int = 1, bias: Tensor | None = None) -> nn.Conv2d:
    """A convolution with this weight [out, in, h, w]."""
    outputs, inputs, *kernel = weight.shape
    layer = nn.Conv2d(inputs, outputs, (kernel[0], kernel[1]), stride=stride, bias=bias is not None)
    with torch.no_grad():
        layer.weight.copy_(weight)
        if bias is not None and layer.bias is not None:
            layer.bias.copy_(bias)
    return layer


def tiled(patches: Tensor) -> Tensor:
    """What each place shows [K, 64, 3, 4, 4] -> pictures [K, 3, 32, 32]."""
    squares = patches.view(-1, GRID, GRID, 3, PATCH, PATCH).permute(0, 3, 1, 4, 2, 5)
    return squares.reshape(-1, 3, GRID * PATCH, GRID * PATCH)
