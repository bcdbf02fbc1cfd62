"""The prototypical network's decision (Snell et al. 2017): the nearest prototype, with every choice written out."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from milr.networks.settings import MetricSettings


def prototypes(support: Tensor, metric: MetricSettings = MetricSettings(), mean: Tensor | None = None) -> Tensor:
    """The classes' means: support representations [..., way, shot, D] -> [..., way, D].

    Under the cosine distance every support counts with length 1, so that none outweighs the others.
    """
    return centred_and_scaled(support, metric, mean).mean(-2)


def logits(query: Tensor, prototype: Tensor, metric: MetricSettings, mean: Tensor | None = None) -> Tensor:
    """Queries [..., Q, D] against `prototypes` [..., way, D] of the same metric: [..., Q, way]."""
    query = centred_and_scaled(query, metric, mean)
    if metric.distance == "cosine":
        return query @ normalize(prototype, dim=-1).transpose(-1, -2) / metric.temperature
    # The difference first, class by class: |q|² - 2qp + |p|² loses what is small beside an offset that all share, and
    # half precision loses it sooner. Without a root the gradient at distance 0 is exactly 0.
    squared = [(query - one[..., None, :]).square().sum(-1) for one in prototype.unbind(-2)]
    return -torch.stack(squared, -1) / metric.temperature


def centred_and_scaled(representation: Tensor, metric: MetricSettings, mean: Tensor | None) -> Tensor:
    """Centred by `mean` [D] and scaled to length 1, as the metric asks. ValueError if it asks for a mean not given."""
    if metric.distance not in ("euclidean", "cosine"):
        raise ValueError(f"distance must be euclidean or cosine, not '{metric.distance}'")
    if metric.centre:
        if mean is None:
            raise ValueError("metric.centre needs the training images' mean representation")
        representation = representation - mean
    return normalize(representation, dim=-1) if metric.distance == "cosine" else representation
