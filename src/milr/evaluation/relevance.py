"""Explanations that go back through a network by a rule for each layer: guided Grad-CAM, LRP and deep Taylor (zennit).

The rules need a network whose every step has one, so a copy is made ready for them: each batch normalisation is merged
into the convolution before it, and each sum of two branches, or average taken by a function, gets the rule of a sum.
All of that is read from what runs, not from names of architectures. What has no rule is refused (`MilrError`), and so
is a copy that no longer computes what the network does. The network itself is not touched.

What is explained is the same number as elsewhere, the queries' logits for their predicted classes. The head is a
function of the network's output e [K, E] that has no layers: relevance starts as its gradient times e, which is what
LRP's basic rule gives where a head is linear (Ancona et al. 2018). Under the cosine, which the length of e does not
change, it sums to zero over e: some channels speak for the class, others against it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate
from zennit import rules as zennit

from milr.data.augmentation import BLACK, WHITE
from milr.evaluation.attribution import grad_cam, score_gradient
from milr.evaluation.ruled import ACTIVATIONS, Linear, Rules, propagate
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.networks.layers import frozen
from milr.networks.wrappers import uncompiled


def lrp(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Layer-wise relevance propagation (Bach et al. 2015): the mean relevance of a place's pixels, signed: [K, H, W].

    The rules of zennit's EpsilonPlusFlat, as in Kohlbrenner et al. 2020: z+ for convolutions, epsilon for linear layers
    and sums, flat for the layer that sees the pixels. But for what biases take, relevance is kept from layer to layer.
    MilrError for a network with a step that has no rule.
    """
    linear = Linear(zennit.Flat, zennit.ZPlus, zennit.Epsilon, zennit.Norm)
    relevance = _back(network, batch, Rules("LRP", "lrp", ACTIVATIONS, zennit.Pass, linear), _times_output)
    return _places(relevance.sum(1, keepdim=True), shape)


def deep_taylor(network: nn.Module, batch: Batch, shape: tuple[int, int]) -> Tensor:
    """Deep Taylor decomposition (Montavon et al. 2017): the mean relevance of a place's pixels, never negative: [K, H, W].

    Their z+ rule, without biases, for every layer and sum, and z^B for the layer that sees the pixels, between black
    and white as milr normalises pictures (or the batch's extremes, where these lie beyond). It starts from what speaks
    for the decision, the positive part of the output's relevance. It is defined for networks of ReLUs: MilrError for
    any other, and for one with a step that has no rule.
    """
    colours = batch.images.detach().transpose(0, 1).flatten(1)
    low = torch.minimum(colours.min(1).values, colours.new_tensor(BLACK))[:, None, None]
    high = torch.maximum(colours.max(1).values, colours.new_tensor(WHITE))[:, None, None]

    def first() -> Any:
        return zennit.ZBox(low[None], high[None], zero_params="bias")

    def positive() -> Any:
        return zennit.ZPlus(zero_params="bias")

    def positive_sum() -> Any:
        """Each addend by its positive part: signed ones, as zennit's Norm takes them, give negative relevance."""
        hook = zennit.Norm()
        hook.input_modifiers = [lambda addends: addends.clamp(min=0)]
        return hook

    linear = Linear(first, positive, positive, positive_sum)
    rules = Rules("deep Taylor decomposition", "deep_taylor", (nn.ReLU,), zennit.Pass, linear)
    relevance = _back(network, batch, rules, lambda gradient, output: _times_output(gradient, output).relu())
    return _places(relevance.sum(1, keepdim=True), shape)


def guided_grad_cam(explainer: MILR, batch: Batch, local: Tensor) -> Tensor:
    """Guided Grad-CAM (Selvaraju et al. 2017): guided backpropagation times Grad-CAM at the local layer: [K, H, W].

    The product's strength, |sum over colours|, is averaged in each place. MilrError for a network without layers of
    ReLU, or with other activations, through which guided backpropagation would be a plain gradient.
    """
    guided = guided_backpropagation(explainer.layers.network, batch)
    coarse = interpolate(grad_cam(explainer, batch, local)[:, None], guided.shape[2:], mode="bilinear")
    return _places((guided * coarse).sum(1, keepdim=True).abs(), local.shape[2:])


def guided_backpropagation(network: nn.Module, batch: Batch) -> Tensor:
    """The gradient to the pixels in which no ReLU passes a negative one on (Springenberg et al. 2015): [K, 3, S, S]."""
    rules = Rules("guided backpropagation", "guided_grad_cam", (nn.ReLU,), zennit.ReLUGuidedBackprop)
    return _back(network, batch, rules, lambda gradient, output: gradient)


def _times_output(gradient: Tensor, output: Tensor) -> Tensor:
    return gradient * output


def _back(network: nn.Module, batch: Batch, rules: Rules, start: Any) -> Tensor:
    """What the rules make of start(gradient of the score, output) [K, E] at the images' pixels: [K, 3, S, S]."""
    with frozen(network, *batch.modules), uncompiled():
        with torch.no_grad():
            output = network(batch.images)
        relevance = start(score_gradient(output.flatten(1), batch.decided), output.flatten(1))
        return propagate(network, batch.images, output, relevance.reshape(output.shape), rules)


def _places(pixels: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The mean over each place's pixels: [K, 1, S, S] -> [K, H, W]."""
    return adaptive_avg_pool2d(pixels, shape)[:, 0]
