"""The critic f(x_i, z): how well a place's content and a representation go together, log p(z|x)/p(z) at best."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from milr.information.statistics import Standardise

CYCLES = (1, 2, 4)  # of the sines and cosines, over the width and the height, that encode a place


class Dropout(nn.Module):
    """Leaves out a share of what it is given while a fit's generator draws what: nn.Dropout draws from torch's own."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        self.generator: torch.Generator | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Any shape; what stays is scaled so that the mean does."""
        if self.generator is None or not self.share:
            return values
        stays = torch.rand(values.shape, generator=self.generator, device=values.device) >= self.share
        return values * stays / (1 - self.share)

    @contextmanager
    def drawing_from(self, generator: torch.Generator) -> Iterator[None]:
        """Leaves values out within the body, whatever ends it: a stopped fit must not leave maps that are random."""
        self.generator = generator
        try:
            yield
        finally:
            self.generator = None


@dataclass(frozen=True)
class CriticShape:
    """The layers of a critic.

    Attributes:
        width: hidden units of the locations' MLP; 0: one layer.
        dimension: p, in which both sides meet.
        place: whether it is given the place of x_i.
        place_table: whether each place has a row of its own besides, which scales and shifts the hidden units: places
            far apart may then differ in any way. Without `place` it has none.
        representation_width: hidden units of the representation's MLP; 0: none.
        dropout: share of the standardised representation that a fit leaves out at random.
        second: whether it gives pairs that belong together a second score (`second_scores`), as FLO needs it.
    """

    width: int
    dimension: int
    place: bool = True
    place_table: bool = False
    representation_width: int = 0
    dropout: float = 0.0
    second: bool = False


class Critic(nn.Module):
    """Inner product of both sides' projections to p dimensions, over sqrt(p) (paper, section 3.4.1).

    Locations pass an MLP or one layer, the representation a linear map, or the sum of one and of an MLP; both are
    standardised first with statistics of the training images. With a linear map log p(z|x_i) - log p(z) can only be
    linear in z: p(z|x_i) is moved, never narrowed (docs/results/calibration.md). A critic is given the place i since
    eq. 1 is about x_i at a given place: without it, it estimates I(x_I; z) for a random place I, which is at most the
    mean over i.

    Args:
        local, representation: standardisation of the C channels and of the D dimensions.
        grid: (H, W) of the local layer, N = H·W places in rows from the top left.
        shape: its layers.
    """

    encoding: Tensor

    def __init__(
        self, local: Standardise, representation: Standardise, grid: tuple[int, int], shape: CriticShape
    ) -> None:
        super().__init__()
        channels, size, dimension = local.mean.numel(), representation.mean.numel(), shape.dimension
        hidden = shape.width or dimension
        self.dimension = dimension
        self.standardise = local
        self.content = nn.Linear(channels, hidden)
        encoding = place_encoding(*grid)
        self.register_buffer("encoding", encoding, persistent=False)
        self.place = nn.Linear(encoding.shape[1], hidden, bias=False) if shape.place else None
        self.table = nn.Embedding(len(encoding), 2 * hidden) if shape.place and shape.place_table else None
        if self.table is not None:
            nn.init.zeros_(self.table.weight)
        self.hidden = nn.Sequential(nn.ReLU(), nn.Linear(shape.width, dimension)) if shape.width else nn.Identity()
        self.standardise_representation = representation
        self.dropout = Dropout(shape.dropout)
        self.representation = nn.Sequential(self.dropout, nn.Linear(size, dimension))
        bend = shape.representation_width
        self.bend = perceptron(size, bend, dimension) if bend else None
        self.second = second_head(dimension) if shape.second else None

    def project_local(self, local: Tensor) -> Tensor:
        """x [K, C, H, W] -> u [K, N, p], divided by sqrt(p) so that scores are plain inner products."""
        return self.project_locations(local.flatten(2).transpose(1, 2))

    def project_locations(self, locations: Tensor, places: Tensor | None = None) -> Tensor:
        """Locations [K, S, C] that lie at `places` [S], their numbers (None: at all N in order) -> [K, S, p]."""
        return self.project_standardised(self.standardise(locations.transpose(1, 2)).transpose(1, 2), places)

    def project_standardised(self, locations: Tensor, places: Tensor | None = None) -> Tensor:
        """The same of locations that were standardised before."""
        hidden = self.content(locations)
        if self.table is not None:
            scale, shift = (self.table.weight if places is None else self.table(places)).chunk(2, dim=-1)
            hidden = hidden * (1 + scale) + shift
        if self.place is not None:
            hidden = hidden + self.place(self.encoding if places is None else self.encoding[places])
        projected: Tensor = self.hidden(hidden)
        return projected / math.sqrt(self.dimension)

    def project_representation(self, representation: Tensor) -> Tensor:
        """z [K, D] -> v [K, p]."""
        return self.project_standardised_representation(self.standardise_representation(representation))

    def project_standardised_representation(self, representation: Tensor) -> Tensor:
        """The same of representations that were standardised before."""
        dropout, linear = self.representation
        representation = dropout(representation)
        projected: Tensor = linear(representation)
        return projected if self.bend is None else projected + self.bend(representation)

    def second_scores(self, local: Tensor, representation: Tensor) -> Tensor | None:
        """s(x_i, z) of pairs that belong together: u [K, S, p] and v [K, p] -> [K, S]; None without such a score.

        It is an inner product with v like the first one, and a number, both from u: s can be a sum of any function of
        the place and of a product of both sides.
        """
        if self.second is None:
            return None
        head = self.second(local * math.sqrt(self.dimension))
        return (head[..., :-1] @ representation[:, :, None])[..., 0] / math.sqrt(self.dimension) + head[..., -1]


def second_head(dimension: int) -> nn.Sequential:
    """u [..., p] -> p factors of v, and a number [..., p + 1]; all 0 at first, which is right where f says nothing."""
    head = perceptron(dimension, 2 * dimension, dimension + 1)
    for parameter in head[2].parameters():
        nn.init.zeros_(parameter)
    return head


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def place_encoding(height: int, width: int) -> Tensor:
    """A positional encoding of N places [N, 14]: coordinates in [-1, 1], and sines and cosines of them."""
    rows, columns = torch.linspace(-1, 1, height), torch.linspace(-1, 1, width)
    coordinates = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), dim=-1).view(-1, 2)
    waves = [math.pi * cycles * coordinates for cycles in CYCLES]
    return torch.cat([coordinates, *(wave.sin() for wave in waves), *(wave.cos() for wave in waves)], dim=1)
