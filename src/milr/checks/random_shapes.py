"""Maps with the values of others and as smooth as they are, whose shape is drawn: what the values alone can tell."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from milr.evaluation.similarity import correlation
from milr.information.mask import blurred
from milr.seeding import seed_of

SIGMAS = (0.0, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 3.0, 4.0)  # of the fields' blur, in places


def random_twins(maps: Tensor, draws: Sequence[int], seed: int) -> Tensor:
    """Each map [n, H, W] with its own values put elsewhere: its highest where a smooth random field is highest, and on.

    Maps of one number of `draws` [n] get the same field. How smooth the fields are is chosen so that the twins are as
    smooth as the maps.
    """
    noise = {draw: noise_of(maps, draw, seed) for draw in set(draws)}
    candidates = [with_shape(maps, fields(noise, draws, sigma)) for sigma in SIGMAS]
    wanted = smoothness(maps)
    return min(candidates, key=lambda twins: abs(smoothness(twins) - wanted))


def noise_of(maps: Tensor, draw: int, seed: int) -> Tensor:
    """White noise of a map's size [1, H, W]."""
    generator = torch.Generator().manual_seed(seed_of("random shapes", seed, draw))
    return torch.randn(1, *maps.shape[1:], generator=generator)


def fields(noise: dict[int, Tensor], draws: Sequence[int], sigma: float) -> Tensor:
    """The field of each draw, [n, H, W]."""
    smooth = {draw: blurred(each[None], sigma)[0] if sigma else each for draw, each in noise.items()}
    return torch.cat([smooth[draw] for draw in draws])


def with_shape(maps: Tensor, shapes: Tensor) -> Tensor:
    """The values of each map [n, H, W] in the order of the values of a shape [n, H, W]."""
    places = shapes.flatten(1).argsort(1)
    return torch.empty_like(maps.flatten(1)).scatter_(1, places, maps.flatten(1).sort(1).values).view_as(maps)


def smoothness(maps: Tensor) -> float:
    """The correlation of neighbouring places, mean over maps [n, H, W]; 0 where all are constant."""
    across = correlation(maps[:, :, 1:].flatten(1), maps[:, :, :-1].flatten(1))
    down = correlation(maps[:, 1:].flatten(1), maps[:, :-1].flatten(1))
    return float(torch.cat([across, down]).nanmean().nan_to_num())
