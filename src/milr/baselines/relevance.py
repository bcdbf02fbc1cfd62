"""Explanations that go back through a network by a rule for each layer: guided Grad-CAM, LRP and deep Taylor (zennit).

The rules need a network whose every step has one, so a copy is made ready for them: each batch normalisation is merged
into the convolution before it, and each sum of two branches, or average taken by a function, gets the rule of a sum.
All of that is read from what runs, not from names of architectures. What has no rule is refused (`MilrError`), and so
is a copy that no longer computes what the network does. The network itself is not touched.

Guided Grad-CAM explains what the others do, the queries' logits for their predicted classes. LRP and deep Taylor share
out a number that must be evidence *for* something; minus a squared distance is none, its features only take away. They
explain by how much that logit exceeds the next class's, which for distances to prototypes is linear in the query
(Kauffmann et al. 2022). `gap_relevance` takes it through the head.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from zennit import rules as zennit

from milr.baselines.attribution import grad_cam, score_gradient
from milr.baselines.propagation import propagate
from milr.baselines.rules import ACTIVATIONS, Linear, Rules
from milr.data.augmentation import IMAGENET, Normalisation
from milr.decisions.decisions import Batch, Decided
from milr.explanation.milr import MILR
from milr.networks.layers import frozen
from milr.networks.wrappers import uncompiled

Start = Callable[[Tensor, Callable[[Tensor], Decided]], Tensor]  # from the output [K, E] and the decision


def lrp(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Layer-wise relevance propagation (Bach et al. 2015): the mean relevance of a place's pixels, signed: [K, H, W].

    The rules of zennit's EpsilonPlusFlat, as in Kohlbrenner et al. 2020: z+ for convolutions, epsilon for linear layers
    and sums, flat for the layer that sees the pixels. But for what biases take, relevance is kept from layer to layer.
    MilrError for a network with a step that has no rule.
    """
    linear = Linear(zennit.Flat, zennit.ZPlus, zennit.Epsilon, zennit.Norm)
    relevance = _back(network, batch, Rules("LRP", "lrp", ACTIVATIONS, zennit.Pass, linear), gap_relevance)
    return _places(relevance.sum(1, keepdim=True), shape)


def deep_taylor(
    network: nn.Module, batch: Batch, shape: tuple[int, int], normalisation: Normalisation = IMAGENET
) -> Tensor:
    """Deep Taylor decomposition (Montavon et al. 2017): relevance, never negative: [K, H, W].

    The mean over a place's pixels. Their z+ rule, without biases, for every layer and sum, and z^B for the layer that
    sees the pixels, between black and white as the network is given them (or the picture's extremes, where these
    lie beyond). It starts from what speaks for the decision, the positive part of `gap_relevance`. It is defined for
    networks of ReLUs: MilrError for any other, and for one with a step that has no rule.
    """
    images = batch.images.detach()
    low = torch.minimum(images.amin((2, 3), keepdim=True), images.new_tensor(normalisation.of(0))[:, None, None])
    high = torch.maximum(images.amax((2, 3), keepdim=True), images.new_tensor(normalisation.of(1))[:, None, None])

    def first() -> Any:
        """The rule of the layer that reads the pixels, which lie in a box."""
        return zennit.ZBox(low, high, zero_params="bias")

    def positive() -> Any:
        """The rule of all others."""
        return zennit.ZPlus(zero_params="bias")

    def positive_sum() -> Any:
        """Each addend by its positive part: signed ones, as zennit's Norm takes them, give negative relevance."""
        hook = zennit.Norm()
        hook.input_modifiers = [lambda addends: addends.clamp(min=0)]
        return hook

    linear = Linear(first, positive, positive, positive_sum)
    rules = Rules("deep Taylor decomposition", "deep_taylor", (nn.ReLU,), zennit.Pass, linear)
    relevance = _back(network, batch, rules, lambda output, decide: gap_relevance(output, decide).relu())
    return _places(relevance.sum(1, keepdim=True), shape)


def guided_grad_cam(explainer: MILR, batch: Batch, local: Tensor) -> Tensor:
    """Guided Grad-CAM (Selvaraju et al. 2017): guided backpropagation times Grad-CAM at the local layer: [K, H, W].

    The product's strength, |sum over colours|, is averaged in each place. MilrError for a network without layers of
    ReLU, or with other activations, through which guided backpropagation would be a plain gradient.
    """
    guided = guided_backpropagation(explainer.layers.network, batch)
    coarse = interpolate(grad_cam(explainer, batch, local)[:, None], guided.shape[2:], mode="bilinear")
    return _places((guided * coarse).sum(1, keepdim=True).abs(), (local.shape[2], local.shape[3]))


def guided_backpropagation(network: nn.Module, batch: Batch) -> Tensor:
    """The gradient to the pixels in which no ReLU passes a negative one on (Springenberg et al. 2015): [K, 3, S, S]."""
    rules = Rules("guided backpropagation", "guided_grad_cam", (nn.ReLU,), zennit.ReLUGuidedBackprop)
    return _back(network, batch, rules, score_gradient)


def gap_relevance(output: Tensor, decide: Callable[[Tensor], Decided]) -> Tensor:
    """The relevance of each output for the queries' gaps between their explained class and the next: [K, E] -> [K, E].

    Of each image that a gap depends on it sums to that gap: gradient times output, LRP's basic rule, and what this
    leaves of the gap in proportion to the output's squares. Under the cosine, whose gradient times output is zero in
    sum, that is LRP with lengths taken as constants (Ali et al. 2022); under squared distances it spreads the bias.
    """
    output = output.detach().clone().requires_grad_()
    with torch.enable_grad():
        decided = decide(output)
        others = decided.answers().scatter(1, decided.explained()[:, None], -torch.inf)
        gaps = decided.explained_logits()
        if others.shape[1] > 1:  # a head with one class has no next one
            gaps = gaps - others.max(1).values
    relevance, plain = torch.zeros_like(output), output.detach()
    shares = plain.square() / plain.square().sum(1, keepdim=True).clamp(min=torch.finfo(plain.dtype).tiny)
    for number, gap in enumerate(gaps):
        (gradient,) = torch.autograd.grad(gap, output, retain_graph=number + 1 < len(gaps))
        own = gradient * plain
        rest = gap.detach() - own.sum(1, keepdim=True)
        relevance += torch.where((gradient != 0).any(1, keepdim=True), own + rest * shares, 0)
    return relevance


def _back(network: nn.Module, batch: Batch, rules: Rules, start: Start) -> Tensor:
    """What the rules make of start(output, decide) [K, E] at the images' pixels: [K, 3, S, S]."""
    with frozen(network, *batch.modules), uncompiled():
        with torch.no_grad():
            output = network(batch.images)
        begin = start(output.flatten(1), batch.decided).reshape(output.shape)
        return propagate(network, batch.images, output, begin, rules)


def _places(pixels: Tensor, shape: tuple[int, int]) -> Tensor:
    """The mean over each place's pixels: [K, 1, S, S] -> [K, H, W]."""
    return adaptive_avg_pool2d(pixels, shape)[:, 0]
