"""Maps that know nothing of the network, or next to nothing: what a map must beat to say anything."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, conv2d


def random_maps(shape: tuple[int, int, int], seed: int) -> Tensor:
    """Every place a draw of its own, [K, H, W]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def uniform_maps(shape: tuple[int, int, int]) -> Tensor:
    """Every place the same, [K, H, W]: ties are drawn, so this is chance by another road than `random_maps`."""
    return torch.ones(shape)


def centred_gaussian(height: int, width: int) -> Tensor:
    """exp(-r²/2) with r = 1 half-way to the border: what "birds are in the middle" alone can do, [H, W]."""
    rows = torch.linspace(-2, 2, height)[:, None]
    columns = torch.linspace(-2, 2, width)[None]
    return torch.exp(-(rows.square() + columns.square()) / 2)


def activation_norm(local: Tensor) -> Tensor:
    """Euclidean length of the local features at each place: [K, C, H, W] -> [K, H, W]."""
    return local.norm(dim=1)


def image_gradient(images: Tensor, shape: tuple[int, int]) -> Tensor:
    """Mean strength of the picture's own edges (Sobel, over grey) in each place: [K, 3, S, S] -> [K, H, W].

    What an edge detector finds, and many explanations are close to (Adebayo et al. 2018).
    """
    across = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]], device=images.device)
    grey = torch.nn.functional.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    edges = conv2d(grey, torch.stack([across, across.T])[:, None]).norm(dim=1, keepdim=True)
    return adaptive_avg_pool2d(edges, shape)[:, 0]
