"""Decisions that compare the images of a batch with each other: pairs of one identity, and the nearest class mean."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from milr.decisions.decision_kinds import headed, modules_of
from milr.decisions.decisions import Decided, OwnModules, class_decided
from milr.decisions.inputs import described
from milr.errors import MilrError
from milr.networks.prototypes import centred_and_scaled, logits
from milr.networks.settings import MetricSettings

PAIR_LOSSES = ("infonce", "triplet")
SAME, DIFFERENT, UNKNOWN = 1, 0, -1


def pairs(
    same: Any, temperature: float = 0.1, kind: str = "infonce", margin: float = 0.2, head: nn.Module | None = None
) -> OwnModules:
    """Retrieval and re-identification: each image against all others of the batch, by the cosine of their embeddings.

    * infonce: minus the log of a positive's share in the softmax over the others, in nats, the mean over an image's
      positives (van den Oord et al. 2018; for several positives Khosla et al. 2020, their L_out).
    * triplet: how much the nearest negative is nearer than the farthest positive, plus a margin, not below 0, in
      cosines (Hermans et al. 2017, batch hard).

    The score is Recall@1 within the batch: 1 where the nearest other image is a positive. Images without a positive or
    without a negative are compared with, but not asked.

    Args:
        same: identities [K], whole numbers: images of one number are positives of each other, all others negatives; or
            what is known of each pair [K, K]: 1 positive, 0 negative, -1 not known.
        temperature: the cosines are divided by it.
        kind: infonce or triplet.
        margin: of triplet.
        head: makes embeddings of the network's output [K, E], and is frozen with the network; None: the output is.

    Returns:
        What `Batch(images, decide)` takes.

    Raises:
        MilrError: for a batch in which no image has both a positive and a negative, for other values than said.

    Example:
        >>> import milr, torch
        >>> batch = milr.Batch(torch.randn(4, 3, 32, 32), milr.pairs([7, 7, 9, 9]))
        >>> batch.decided(torch.tensor([[1.0, 0], [2, 0], [0, 1], [1, 0.1]])).score  # the last: by the first two
        tensor([1., 1., 1., 0.])
    """
    if kind not in PAIR_LOSSES:
        raise MilrError(f"pairs(kind={kind!r}): choose among {', '.join(PAIR_LOSSES)}")
    if not temperature > 0:
        raise MilrError(f"pairs(temperature={temperature}): the cosines are divided by it, it must be above 0")
    positive, negative = related(same)
    rows = (positive.any(1) & negative.any(1)).nonzero()[:, 0]
    if not len(rows):
        raise MilrError(
            "no image of the batch has both another one of its identity and one of another: draw batches of a few "
            "identities with at least two images of each"
        )
    positive, negative = positive[rows], negative[rows]
    chance = float((positive.sum(1) / (positive | negative).sum(1)).mean())

    def decide(output: Tensor) -> Decided:
        """Each image that has both kinds, against all that are known to it."""
        unit = normalize(headed(output, head).flatten(1), dim=1)
        if len(unit) != positive.shape[1]:
            raise MilrError(
                f"pairs was given the identities of {positive.shape[1]} images, and the network gives {len(unit)} "
                "embeddings: it must be one for each"
            )
        near, far = positive.to(unit.device), negative.to(unit.device)
        cosine = unit[rows.to(unit.device)] @ unit.T
        answers = (cosine / temperature).masked_fill(~(near | far), -torch.inf)
        loss = share_loss(answers, near) if kind == "infonce" else triplet_loss(cosine, near, far, margin)
        score = near.gather(1, answers.argmax(1, keepdim=True))[:, 0].to(loss.dtype)
        return Decided(loss, score, answers, chance, rows)

    return OwnModules(decide, modules_of(head))


def share_loss(answers: Tensor, positive: Tensor) -> Tensor:
    """[R]: minus the log of a positive's share in the softmax of a row, the mean over the row's positives."""
    shares = torch.where(positive, answers.log_softmax(1), 0)
    return -shares.sum(1) / positive.sum(1)


def triplet_loss(cosine: Tensor, positive: Tensor, negative: Tensor, margin: float) -> Tensor:
    """[R]: how much the nearest negative of a row is nearer than the farthest positive, plus a margin; at least 0."""
    farthest = cosine.masked_fill(~positive, torch.inf).amin(1)
    return (margin + cosine.masked_fill(~negative, -torch.inf).amax(1) - farthest).relu()


def related(same: Any) -> tuple[Tensor, Tensor]:
    """Which pairs of K images are positives and which negatives, bool [K, K] each, no image with itself."""
    try:
        given = torch.as_tensor(same).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        raise MilrError(f"pairs takes identities [K] or relations [K, K], not {described(same)}") from None
    square = given.ndim == 2 and given.shape[0] == given.shape[1]
    if given.is_floating_point() or not (given.ndim == 1 or square):
        raise MilrError(f"pairs takes identities [K] or relations [K, K], whole numbers, not {described(same)}")
    relation = given.long() if square else (given[:, None] == given).long()
    if not relation.numel() or relation.min() < UNKNOWN or relation.max() > SAME:
        raise MilrError("relations [K, K] of pairs are 1 (same), 0 (different) or -1 (not known)")
    others = ~torch.eye(len(relation), dtype=torch.bool)
    return (relation == SAME) & others, (relation == DIFFERENT) & others


def prototypes(
    labels: Any, metric: MetricSettings = MetricSettings(), centre: Tensor | None = None, head: nn.Module | None = None
) -> OwnModules:
    """A prototypical network's decision on a batch of any composition: each image against the classes' other images.

    Logits are those of Snell et al. 2017, every image left out of its own class's mean; a class's only image is part of
    what others are compared with, but is not asked itself. For episodes of supports and queries: `episode_decision`.

    Args:
        labels: class numbers [K]: at least two classes, one of them with two images or more.
        metric: how images are compared with prototypes.
        centre: the training images' mean embedding [E], for a metric that subtracts it.
        head: makes embeddings of the network's output [K, E], and is frozen with the network; None: the output is.

    Returns:
        What `Batch(images, decide)` takes.

    Raises:
        MilrError: for labels of one class, or of which no two are equal.

    Example:
        >>> import milr, torch
        >>> batch = milr.Batch(torch.randn(4, 3, 32, 32), milr.prototypes([7, 7, 9, 9]))
        >>> batch.decided(torch.tensor([[1.0, 0], [2, 0], [0, 1], [0, 2]])).score
        tensor([1., 1., 1., 1.])
    """
    positive, negative = related(labels)
    rows = positive.any(1).nonzero()[:, 0]
    if not len(rows) or not negative.any():
        raise MilrError(
            "a batch for prototypes needs at least two classes, and two images of one: draw batches of a few classes "
            "with several images of each"
        )
    classes, number = torch.as_tensor(labels).cpu().unique(return_inverse=True)
    member = number == torch.arange(len(classes))[:, None]
    others = member & (torch.arange(len(number)) != rows[:, None, None])  # [Q, classes, K]
    weight = others / others.sum(-1, keepdim=True)

    def decide(output: Tensor) -> Decided:
        """Each image of a class with others, against the classes' means without it."""
        embedding = headed(output, head).flatten(1)
        if len(embedding) != len(number):
            raise MilrError(
                f"prototypes was given {len(number)} labels, and the network gives {len(embedding)} embeddings: "
                "it must be one for each"
            )
        means = weight.to(embedding) @ centred_and_scaled(embedding, metric, centre)
        asked = rows.to(embedding.device)
        answers = logits(embedding[asked, None], means, metric, centre)[:, 0]
        return class_decided(answers, number.to(embedding.device)[asked], rows)

    return OwnModules(decide, modules_of(head))
