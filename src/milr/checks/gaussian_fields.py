"""A planted world of Gaussian fields and a linear network, whose information is known in closed form."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from milr.checks.worlds import GRID, PATCH, PLACES, Pooled, World, convolution, tiled
from milr.information.units import bits

CHANNELS = 8  # of the Gaussian fields' places
REACH = 0.7  # of the correlation in the fields' left half: sigma, in places
FIELD_BITS = (3.0, 2.0, 1.0)  # that a place gives z by itself; the correlation adds to it, or takes from it
FIELD_PLACES = ((1, 1), (4, 2), (6, 0))  # (row, column), in the left half
OTHERS = 3  # places of the right half that are added to each of these


@dataclass(frozen=True)
class FieldTruth:
    """What z tells of each place by the true densities.

    Attributes:
        back: S^-1 R_i [64, D, C], by which E[x_i | z] = z back.
        explained: M_i [64, C, C], of Cov(x_i) what z explains.
    """

    back: Tensor
    explained: Tensor

    @property
    def rest(self) -> Tensor:
        """Cov(x_i | z) [64, C, C]."""
        return torch.eye(CHANNELS, dtype=torch.double) - self.explained

    @property
    def nats(self) -> Tensor:
        """I(x_i; z) [64]."""
        return -0.5 * torch.linalg.slogdet(self.rest).logabsdet

    def single(self, reading: str, local: Tensor, representation: Tensor) -> Tensor:
        """What a reading gives for each picture, in bits [K, 8, 8]."""
        x, z = local.double(), representation.double()
        expected = torch.einsum("idc,kd->kic", self.back, z)  # E[x_i | z]
        if reading == "sample":
            error = x - expected
            precision = torch.linalg.inv(self.rest)
            gain = x.square().sum(2) - torch.einsum("kic,icd,kid->ki", error, precision, error)
        elif reading == "representation":
            explained = torch.einsum("kic,icd,kid->ki", x, self.explained, x)
            gain = explained - self.explained.diagonal(dim1=1, dim2=2).sum(1)
        else:
            gain = expected.square().sum(2) - self.explained.diagonal(dim1=1, dim2=2).sum(1)
        return bits(self.nats + gain / 2).view(-1, GRID, GRID)


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
    truth = field_truth(weights, covariance)
    network = Pooled(
        convolution(patterns.view(CHANNELS, 3, PATCH, PATCH), stride=PATCH),
        convolution(weights.transpose(1, 2).reshape(-1, CHANNELS, GRID, GRID)),
    )
    pictures = partial(field_pictures, torch.linalg.cholesky(covariance), patterns)
    return World("Gaussian fields", network.eval(), bits(truth.nats).view(GRID, GRID), pictures, truth.single)


def field_pictures(spread: Tensor, patterns: Tensor, count: int, seed: int) -> Tensor:
    """[count, 3, 32, 32] of a seed, from the Cholesky factor of a channel's covariance and the channels' patterns."""
    draw = torch.randn(count, PLACES, CHANNELS, generator=torch.Generator().manual_seed(seed), dtype=torch.double)
    patches = (spread @ draw) @ patterns
    return tiled(patches.view(count, PLACES, 3, PATCH, PATCH)).float()


def field_truth(weights: Tensor, covariance: Tensor) -> FieldTruth:
    """From what z is made of [D, 64, C], and the covariance of any one channel [64, 64]."""
    cross = torch.einsum("djc,ji->idc", weights, covariance)  # R_i [64, D, C]
    whole = torch.einsum("djc,ji,eic->de", weights, covariance, weights)  # S [D, D]
    back = torch.linalg.solve(whole, cross)
    return FieldTruth(back, cross.transpose(1, 2) @ back)


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
