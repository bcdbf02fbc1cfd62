"""Whitening of the representation, so that q = N(0, I) matches its true marginal to second order."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Whitening(nn.Module):
    """z [K, D] -> z~ [K, d] with mean 0 and covariance I on the images it was fitted to (PCA)."""

    mean: Tensor
    projection: Tensor
    share: Tensor

    def __init__(self, mean: Tensor, projection: Tensor, share: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)  # [D]
        self.register_buffer("projection", projection)  # [D, d], each column divided by its standard deviation
        self.register_buffer("share", share)  # share of the variance that the d components keep

    def forward(self, representation: Tensor) -> Tensor:
        return (representation - self.mean) @ self.projection


def fit_whitening(representation: Tensor, share: float) -> Whitening:
    """Enough principal components of z [n, D] to keep `share` (0 to 1] of its variance.

    ValueError for a share out of range, fewer than two images, or a representation that never changes.
    """
    images = representation.shape[0]
    if not 0 < share <= 1:
        raise ValueError(f"share must lie in (0, 1], not {share}")
    if images < 2:
        raise ValueError(f"whitening needs at least 2 images, not {images}")
    mean = representation.mean(0)
    # Singular values of the centred data instead of the covariance's eigenvalues: no squaring, and D may exceed n.
    _, singular, directions = torch.linalg.svd((representation - mean).double(), full_matrices=False)
    variance = singular.square() / (images - 1)
    if variance.sum() <= 0:
        raise ValueError("the representation is the same for every image: there is nothing to whiten")
    kept_share = variance.cumsum(0) / variance.sum()
    # Directions without variance cannot be scaled to 1, however large a share is asked for.
    kept = min(int((kept_share < share).sum()) + 1, int((variance > 1e-10 * variance[0]).sum()))
    projection = directions[:kept].T / variance[:kept].sqrt()
    return Whitening(mean, projection.float(), kept_share[kept - 1].float())
