"""Pictures and networks whose information I(x_i; z) is known at every place: the estimate is held against it.

Two worlds, each of pictures [3, 32, 32] with 8 x 8 places of 4 x 4 pixels, and a network with the layers "layer1", the
places' content, and "avgpool", the representation. Nothing is random but the pictures: z is a function of them, and
what z does not tell of a place is drawn elsewhere in the same picture.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milr.information.units import bits

GRID, PATCH = 8, 4  # places a side, and pixels of a place's side
PLACES = GRID * GRID
LAYERS = ("layer1", "avgpool")

CHANNELS = 8  # of the Gaussian fields' places
REACH = 0.7  # of the correlation in the fields' left half: sigma, in places
FIELD_BITS = (3.0, 2.0, 1.0)  # that a place gives z by itself; the correlation adds to it, or takes from it
FIELD_PLACES = ((1, 1), (4, 2), (6, 0))  # (row, column), in the left half
OTHERS = 3  # places of the right half that are added to each of these

CELLS = 8  # black or white, of each place of the scenes: 2 columns of 4, each 2 pixels wide and 1 high
SYMBOLS = ((1, 0.25), (1, 0.5), (2, 1.0), (3, 1.5), (4, 2.0), (4, 3.0), (6, 4.0), (8, 5.0), (8, 6.0), (6, 6.0))

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


def gaussian_fields() -> World:
    """Gaussian fields through a linear network: every I(x_i; z) in closed form.

    A place's content x_i is N(0, I) in 8 channels, the strengths of 8 orthogonal patterns. In the left half of the
    picture neighbours are correlated, with exp(-d^2 / 2 sigma^2) of their distance d; in the right half they are
    independent. Each channel of z is w x_a + sqrt((1 - w^2) / 3) (x_b + x_c + x_d) of a place a on the left and three
    on the right that no other channels share. So neighbours of a have information without any weight of their own, and
    23 places of the right half have none.

    With R_i = Cov(z, x_i), S = Cov(z) and M_i = R_i' S^-1 R_i it is I(x_i; z) = -1/2 log det(1 - M_i) (Cover and
    Thomas, "Elements of Information Theory", section 8.5: differences of Gaussian entropies).
    """
    generator = torch.Generator().manual_seed(0)
    patterns = torch.linalg.qr(torch.randn(3 * PATCH * PATCH, CHANNELS, generator=generator).double())[0].T
    covariance = field_covariance()
    weights = field_weights(generator)  # [D, 64, C]
    spread = torch.linalg.cholesky(covariance)

    def pictures(count: int, seed: int) -> Tensor:
        """[count, 3, 32, 32], of a seed."""
        draw = torch.randn(count, PLACES, CHANNELS, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
        patches = (spread @ draw) @ patterns
        return tiled(patches.view(count, PLACES, 3, PATCH, PATCH)).float()

    # R_i [64, D, C], S [D, D], S^-1 R_i and M_i [64, C, C]
    cross = torch.einsum("djc,ji->idc", weights, covariance)
    whole = torch.einsum("djc,ji,eic->de", weights, covariance, weights)
    back = torch.linalg.solve(whole, cross)  # [64, D, C]
    told = cross.transpose(1, 2) @ back
    rest = torch.eye(CHANNELS, dtype=torch.double) - told  # Cov(x_i | z)
    nats = -0.5 * torch.linalg.slogdet(rest).logabsdet

    def single(reading: str, local: Tensor, representation: Tensor) -> Tensor:
        """What a reading gives for each picture, in bits, by the true densities."""
        x, z = local.double(), representation.double()
        expected = torch.einsum("idc,kd->kic", back, z)  # E[x_i | z]
        if reading == "sample":
            error = x - expected
            gain = x.square().sum(2) - torch.einsum("kic,icd,kid->ki", error, torch.linalg.inv(rest), error)
        elif reading == "representation":
            gain = torch.einsum("kic,icd,kid->ki", x, told, x) - told.diagonal(dim1=1, dim2=2).sum(1)
        else:
            gain = expected.square().sum(2) - told.diagonal(dim1=1, dim2=2).sum(1)
        return bits(nats + gain / 2).view(-1, GRID, GRID)

    network = Pooled(
        convolution(patterns.view(CHANNELS, 3, PATCH, PATCH), stride=PATCH),
        convolution(weights.transpose(1, 2).reshape(-1, CHANNELS, GRID, GRID)),
    )
    return World("Gaussian fields", network.eval(), bits(nats).view(GRID, GRID), pictures, single)


def field_covariance() -> Tensor:
    """Cov(x_i, x_j) of any one channel [64, 64]: a smooth field in the left half, white noise in the right one."""
    rows, columns = torch.arange(PLACES) // GRID, torch.arange(PLACES) % GRID
    squared = (rows[:, None] - rows).square() + (columns[:, None] - columns).square()
    left = columns < GRID // 2
    smooth = torch.exp(-squared.double() / (2 * REACH**2))
    return torch.where(left[:, None] & left, smooth, torch.eye(PLACES, dtype=torch.double))


def field_weights(generator: torch.Generator) -> Tensor:
    """What each channel of z is made of [D, 64, C]."""
    right = torch.tensor([place for place in range(PLACES) if place % GRID >= GRID // 2])
    drawn = right[torch.randperm(len(right), generator=generator)]
    weights = torch.zeros(len(FIELD_BITS), CHANNELS, PLACES, CHANNELS, dtype=torch.double)
    for index, (wanted, (row, column)) in enumerate(zip(FIELD_BITS, FIELD_PLACES, strict=True)):
        share = 1 - 2 ** (-2 * wanted / CHANNELS)  # of the variance: -1/2 log2(1 - share) bits a channel
        others = drawn[OTHERS * index : OTHERS * (index + 1)]
        for channel in range(CHANNELS):
            weights[index, channel, GRID * row + column, channel] = math.sqrt(share)
            weights[index, channel, others, channel] = math.sqrt((1 - share) / OTHERS)
    return weights.flatten(0, 1)


def drawn_symbols() -> World:
    """Scenes of black and white cells, in which symbols at ten places reach z through a noisy channel.

    Each place shows 8 cells, each black or white. A symbol is the first b cells s of its place, uniform. It has a
    partner elsewhere, whose first b cells e are turned with probability eps each, and z holds the products r = s e of
    black = -1 and white = 1: a binary symmetric channel. Its information is b (1 - H(eps)) bits (Cover and Thomas,
    section 7.1.4), from 0.25 to 6; where eps = 0 the partner's cells are all white. All others are uniform and reach
    nothing.

    The partner tells nothing: for any e, r = s e is uniform since s is uniform and independent of e, so that p(r | e) =
    p(r) and I(e; r) = 0, and the other coordinates of z are independent of both. Only with s at hand would it tell.
    """
    generator = torch.Generator().manual_seed(0)
    places = torch.randperm(PLACES, generator=generator).tolist()
    truth, dimension = torch.zeros(PLACES, dtype=torch.double), sum(count for count, _ in SYMBOLS)
    pair_weights = torch.zeros(dimension, CELLS, PLACES)  # the sum s + e, or 2 s - 1 ... of each coordinate of z
    ends = torch.zeros(dimension)
    turned = torch.full((PLACES, CELLS), 0.5)  # the probability of black
    sources: list[tuple[int, int, int, float]] = []  # place, partner, b, eps
    for index, (count, wanted) in enumerate(SYMBOLS):
        place, partner, error = places[2 * index], places[2 * index + 1], error_of(wanted / count)
        sources.append((place, partner, count, error))
        turned[partner, :count] = error
        truth[place] = wanted
    first = 0
    for place, partner, count, _ in sources:
        for cell in range(count):
            pair_weights[first + cell, cell, [place, partner]] = 1
            ends[first + cell] = -1
        first += count

    def pictures(count: int, seed: int) -> Tensor:
        """[count, 3, 32, 32], of a seed."""
        draw = torch.rand(count, PLACES, CELLS, generator=torch.Generator().manual_seed(seed))
        cells = 1 - 2 * (draw < turned).float()
        pixels = cells.view(count, PLACES, 1, PATCH, 2).repeat_interleave(2, dim=4)
        return tiled(pixels.expand(-1, -1, 3, -1, -1))

    def single(reading: str, local: Tensor, representation: Tensor) -> Tensor:
        """What a reading gives for each picture, in bits, by the true densities."""
        result = torch.zeros(len(local), PLACES, dtype=torch.double)
        start = 0
        for place, _, count, error in sources:
            arrived = (local[:, place, :count] * representation[:, start : start + count]) > 0
            odds = torch.where(arrived, 1 - error, max(error, 1e-30)).double()
            result[:, place] = (2 * odds).log2().sum(1) if reading == "sample" else truth[place]
            start += count
        return result.view(-1, GRID, GRID)

    # |s + e| - 1 = s e of numbers -1 and 1; |t| = relu(t) + relu(-t)
    sums = pair_weights.view(dimension, CELLS, GRID, GRID)
    eye = torch.eye(dimension)[:, :, None, None]
    upper = nn.Sequential(
        convolution(torch.cat([sums, -sums])), nn.ReLU(), convolution(torch.cat([eye, eye], dim=1), bias=ends)
    )
    network = Pooled(convolution(cell_means(), stride=PATCH), upper)
    return World("drawn symbols", network.eval(), truth.view(GRID, GRID), pictures, single)


def cell_means() -> Tensor:
    """The weight [8, 3, 4, 4] of a convolution that gives each cell's mean over its pixels and colours."""
    weight = torch.zeros(CELLS, 3, PATCH, PATCH)
    for cell in range(CELLS):
        row, column = divmod(cell, 2)
        weight[cell, :, row, 2 * column : 2 * column + 2] = 1 / 6
    return weight


def error_of(capacity: float) -> float:
    """The eps of a binary symmetric channel of this capacity, 1 - H(eps) bits, from 0 to 1: to 1e-12."""
    low, high = 0.0, 0.5
    for _ in range(60):
        middle = (low + high) / 2
        entropy = -middle * math.log2(middle) - (1 - middle) * math.log2(1 - middle)
        low, high = (low, middle) if 1 - entropy < capacity else (middle, high)
    return 0.0 if capacity >= 1 else (low + high) / 2


WORLDS = {"fields": gaussian_fields, "symbols": drawn_symbols}
