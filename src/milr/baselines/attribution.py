"""Explanations of the decision that people use today, at the local layer's resolution: gradients, and two of Captum.

All explain one number: the sum of the queries' logits for the classes that the untouched network decided them for, or
for those that `asking_for` names. Each image is explained with all others as they are, so a query answers for its own
logit, and a support for the logits of the queries that were decided for it. True labels are used nowhere. Captum runs
the network in float32 always.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy

from milr.baselines.batching import at_once, laid_out
from milr.decisions.decisions import Batch, Decided
from milr.explanation.milr import MILR
from milr.explanation.targets import OwnDecision
from milr.networks.gradients import ThroughNoGrad
from milr.networks.layers import frozen

INTEGRATION_STEPS = 50  # Captum's own default
WINDOW_SHARE = 8  # an occluding window is 1/8 of the image's shorter side (16 of 128 pixels), and moves by half of that


@dataclass(frozen=True)
class Untouched:
    """The untouched decision about K images, against which one image at a time is changed."""

    output: Tensor  # the network's output [K, E]
    decide: Callable[[Tensor], Decided]
    predicted: Tensor  # [Q], the answer of each query that is explained: the one it got, unless another is asked for

    @classmethod
    def of(cls, output: Tensor, decide: Callable[[Tensor], Decided]) -> Untouched:
        """From the untouched output [K, E]."""
        return cls(output, decide, decide(output).explained())

    def logits(self, changed: Tensor, rows: Tensor) -> Tensor:
        """Logits [n, Q, classes] if image rows[i] gave changed[i] [n, E], each change on its own."""
        outputs = self.output.expand(len(rows), *self.output.shape).clone()
        outputs[torch.arange(len(rows), device=rows.device), rows] = changed

        def answers(output: Tensor) -> Tensor:
            """Of one change."""
            return self.decide(output).answers()

        try:
            together: Tensor = torch.func.vmap(answers)(outputs)
            return together
        except RuntimeError:  # a decision that looks at values, which vmap does not let it
            return torch.stack([answers(output) for output in outputs])

    def score(self, changed: Tensor, rows: Tensor) -> Tensor:
        """The sum of the queries' logits for their predicted classes under each change, [n]."""
        chosen = self.predicted.expand(len(rows), -1)[..., None]
        return self.logits(changed, rows).gather(2, chosen).sum((1, 2))

    def loss(self, changed: Tensor, rows: Tensor) -> Tensor:
        """Cross-entropy in nats of the predicted classes under each change, [n]: a query's own, or all queries' mean.

        Supports, the images that are no queries, come first.
        """
        logits = self.logits(changed, rows)
        count, queries = len(rows), len(self.predicted)
        labels = self.predicted.repeat(count)
        losses = cross_entropy(logits.flatten(0, 1), labels, reduction="none").view(count, queries)
        query = rows - (len(self.output) - queries)
        own = losses.gather(1, query.clamp(min=0)[:, None])[:, 0]
        return torch.where(query >= 0, own, losses.mean(1))


def own_decision(batch: Batch, output: Tensor) -> Callable[[Tensor], Tensor]:
    """A target for `MILR.maps`: each image's decision, of the untouched output [K, E]; `Untouched.loss`.

    It is the image's own, unless `asking_for` names others.
    """
    untouched, rows = Untouched.of(output, batch.decided), torch.arange(len(output))

    def loss(changed: Tensor) -> Tensor:
        """Of each changed image [K]."""
        return untouched.loss(changed, rows.to(changed.device))

    return loss if batch.decided(output).asked is not None else OwnDecision(loss)


def grad_cam(explainer: MILR, batch: Batch, local: Tensor) -> Tensor:
    """Grad-CAM (Selvaraju et al. 2017) at the local layer: x [K, C, H, W] -> [K, H, W]."""
    local = local.clone().requires_grad_()
    with frozen(explainer.layers.network, *batch.modules):
        logits = batch.decided(explainer.layers.second_pass(local, batch.images).output).explained_logits()
        (gradient,) = torch.autograd.grad(logits.sum(), local)
    weights = gradient.mean((2, 3), keepdim=True)
    return (weights * local.detach()).sum(1).relu()


def saliency(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Gradient saliency (Simonyan et al. 2013): |gradient|, the largest of a pixel's colours: [K, H, W]."""
    images = batch.images.detach().clone().requires_grad_()
    with frozen(network, *batch.modules), ThroughNoGrad():
        logits = batch.decided(network(images).flatten(1)).explained_logits()
        (gradient,) = torch.autograd.grad(logits.sum(), images)
    return adaptive_avg_pool2d(gradient.abs().amax(1, keepdim=True), shape)[:, 0]


def score_gradient(output: Tensor, decide: Callable[[Tensor], Decided]) -> Tensor:
    """The score's gradient to the network's output: [K, E] -> [K, E]."""
    output = output.detach().clone().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(decide(output).explained_logits().sum(), output)
    return gradient


def integrated_gradients(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Integrated gradients (Sundararajan et al. 2017, Captum) from the mean colour: [K, H, W].

    Strength, |sum over colours|, averaged in each place: signed values of neighbouring pixels cancel each other.
    """
    from captum.attr import IntegratedGradients

    with frozen(network, *batch.modules), ThroughNoGrad():
        method = IntegratedGradients(_score_of(network, batch))
        rows = torch.arange(len(batch.images), device=batch.images.device)
        size = max(len(rows), at_once(batch.images))
        result: Tensor = method.attribute(
            batch.images, additional_forward_args=(rows,), n_steps=INTEGRATION_STEPS, internal_batch_size=size
        )
    return adaptive_avg_pool2d(result.sum(1, keepdim=True).abs(), shape)[:, 0].detach()


def occlusion(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """How much the score falls where a square of the mean colour covers it (Zeiler, Fergus 2014, Captum): [K, H, W]."""
    from captum.attr import Occlusion

    window = max(2, min(batch.images.shape[2:]) // WINDOW_SHARE)
    with frozen(network, *batch.modules), torch.no_grad():
        rows = torch.arange(len(batch.images), device=batch.images.device)
        result: Tensor = Occlusion(_score_of(network, batch)).attribute(
            batch.images,
            (3, window, window),
            strides=(3, window // 2, window // 2),
            additional_forward_args=(rows,),
            perturbations_per_eval=max(1, at_once(batch.images) // len(rows)),
        )
    return adaptive_avg_pool2d(result.mean(1, keepdim=True), shape)[:, 0]


def _score_of(network: nn.Module, batch: Batch) -> Callable[[Tensor, Tensor], Tensor]:
    """(changed images [n, 3, S, S], the image that each replaces [n]) -> score [n]; the network must be frozen."""
    with torch.no_grad():
        untouched = Untouched.of(network(batch.images).flatten(1), batch.decided)

    def score(images: Tensor, rows: Tensor) -> Tensor:
        """The score of each changed image."""
        return untouched.score(network(laid_out(images)).flatten(1), rows)

    return score
