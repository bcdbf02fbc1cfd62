"""How well a small classifier that sees maps alone tells their pictures' classes, of pictures it was not fitted to.

A linear discriminant with a shrunken covariance (Friedman 1989, "Regularized Discriminant Analysis"): solved, not
trained, and strong where a class has few pictures. It sees each map twice: as it lies, and moved so that its centre of
mass is in the middle, since a shape may be anywhere in the picture.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

FOLDS = 5
MOST_PLACES = 16  # of a side: a larger map is averaged down to it
SHRINKAGES = (1.0, 0.9, 0.7, 0.5, 0.3, 0.1, 0.03)  # towards uncorrelated places: the one most right on held-out maps


def hits(features: Tensor, labels: Tensor, seed: int) -> Tensor:
    """Whether each picture's class is predicted from features [n, F] alone, `map_features` of a map: 0 or 1, [n].

    Cross-validation over five folds with pictures of each class. A fold is predicted by a classifier that was fitted
    to the four others, its shrinkage chosen by one of them for a fit to three. labels: class numbers [n], 0 to
    classes - 1, five of each at least.
    """
    features, fold, right = features.double(), folds(labels, seed), torch.zeros(len(labels))
    for number in range(FOLDS):
        test, held_out = fold == number, fold == (number + 1) % FOLDS
        train = ~(test | held_out)
        accuracy_with = partial(accuracy, features, labels, train, held_out)
        chosen = max(SHRINKAGES, key=accuracy_with)  # of equal ones the first, which shrinks most
        right[test] = (predicted(features[~test], labels[~test], chosen, features[test]) == labels[test]).float()
    return right


def accuracy(features: Tensor, labels: Tensor, train: Tensor, held_out: Tensor, shrinkage: float) -> float:
    """On the held-out pictures, of a discriminant fitted to those of `train`; both are masks [n]."""
    answers = predicted(features[train], labels[train], shrinkage, features[held_out])
    return float((answers == labels[held_out]).double().mean())


def predicted(features: Tensor, labels: Tensor, shrinkage: float, others: Tensor) -> Tensor:
    """The class numbers [m] that a discriminant fitted to features [n, F] of classes [n] gives to others [m, F]."""
    mean, std = features.mean(0), features.std(0).clamp(min=1e-6)
    features, others = (features - mean) / std, (others - mean) / std
    means = torch.stack([features[labels == label].mean(0) for label in range(int(labels.max()) + 1)])
    within = features - means[labels]
    covariance = within.T @ within / len(within)
    spread = covariance.diagonal().mean().clamp(min=1e-6)
    shrunken = torch.lerp(covariance, spread * torch.eye(len(covariance), dtype=covariance.dtype), shrinkage)
    weights = torch.linalg.solve(shrunken, means.T)
    return (others @ weights - (means * weights.T).sum(1) / 2).argmax(1)


def folds(labels: Tensor, seed: int) -> Tensor:
    """The fold of each picture [n]: those of a class in an order that is drawn, one fold after the other."""
    generator = torch.Generator().manual_seed(seed)
    fold = torch.empty_like(labels)
    for label in labels.unique():
        own = (labels == label).nonzero().flatten()
        fold[own[torch.randperm(len(own), generator=generator)]] = torch.arange(len(own)) % FOLDS
    return fold


def map_features(maps: Tensor) -> Tensor:
    """What the classifier sees of maps [n, H, W]: their places, and those of the same maps moved to the middle."""
    height, width = (min(size, MOST_PLACES) for size in maps.shape[1:])
    small = adaptive_avg_pool2d(maps[:, None], (height, width))[:, 0]
    return torch.cat([small.flatten(1), centred(small).flatten(1)], 1)


def centred(maps: Tensor) -> Tensor:
    """Each map [n, H, W] moved, by whole places, so that the centre of what is above its least value is in the middle.

    What goes out on one side comes in on the other.
    """
    mass = maps - maps.amin((1, 2), keepdim=True)
    total = mass.sum((1, 2)).clamp(min=1e-12)
    moves = []
    for axis, across in ((1, 2), (2, 1)):
        size = maps.shape[axis]
        centre = (mass.sum(across) * torch.arange(size)).sum(1) / total
        moves.append((size // 2 - centre).round().int().tolist())
    return torch.stack([each.roll(move, (0, 1)) for each, *move in zip(maps, *moves, strict=True)])
