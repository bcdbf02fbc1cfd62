"""Eq. 10's terms on a batch: what they are the mean of, and where their gradients go."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from toy import batch, prepared, trained_network

from milr.explanation.mask_fitting import Weights, backward, begin
from milr.explanation.milr import MILR
from milr.explanation.objective import Terms, measure
from milr.explanation.settings import FitSettings, InfomaxSettings, MilrSettings
from milr.information.infomax import DENOMINATORS
from milr.information.readings import read


def terms_of(explainer: MILR) -> Terms:
    explainer.modules.eval()
    given = batch(3)
    first = explainer.layers.first_pass(given.images)
    return measure(explainer, given, first, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("denominator", list(DENOMINATORS))
def test_the_information_is_the_sample_reading_at_a_sample_of_the_places(denominator: str) -> None:
    """At all places it is the mean of `read`; at 64 of 256 near it."""
    explainer = prepared(MilrSettings(infomax=InfomaxSettings(map="sample", denominator=denominator)))
    found, given = terms_of(explainer), batch(3)
    with torch.no_grad():
        first, critic = explainer.layers.first_pass(given.images), explainer.modules.critic
        pair = critic.project_local(first.local), critic.project_representation(first.representation)
        values = read("sample", denominator, *pair, explainer.bank()[0])
    assert float(found.information) == pytest.approx(float(values.mean()), abs=4 * float(values.std()) / math.sqrt(64))
    assert found.cap == pytest.approx(math.log(1 + 64)) and not found.information.requires_grad


def test_with_an_open_mask_all_is_kept_and_nothing_redundant() -> None:
    for redundancy in ("occluded", "representation"):
        explainer = prepared(MilrSettings(redundancy=redundancy))
        last = explainer.modules.mask.combine[-1]
        torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        torch.nn.init.constant_(last.bias, 40.0)  # type: ignore[arg-type]
        terms = terms_of(explainer)
        assert terms.information_kept.item() == pytest.approx(terms.information.item(), abs=1e-5)
        assert abs(float(terms.redundant)) < 1e-5


def test_alphas_gradient_reaches_the_mask_and_no_term_reaches_the_critic() -> None:
    network = copy.deepcopy(trained_network())
    network.zero_grad()
    explainer, gradients = prepared(network=network), {}
    for alpha, beta in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0)):
        progress = begin(explainer.modules, FitSettings())
        terms, loss = backward(explainer, batch(3), progress, Weights(alpha, beta, 0.0))
        whole = terms.decision_loss + beta * terms.bottleneck / 16 - alpha * terms.information_kept
        assert loss.item() == pytest.approx(whole.item(), abs=1e-5)
        gradients[alpha, beta] = torch.cat([p.grad.flatten() for p in explainer.modules.mask.parameters()])
        assert all(p.grad is None and p.requires_grad for p in explainer.modules.critic.parameters())
        assert all(p.grad is None for p in network.parameters())
    plain = gradients.pop((0.0, 0.0))
    assert all((other - plain).abs().max() > 1e-8 for other in gradients.values())


def test_alphas_gradient_is_that_of_the_information_that_is_kept() -> None:
    """Against a difference of two nearby masks, the noise being the same."""
    explainer = prepared()
    bias = explainer.modules.mask.combine[-1].bias
    assert isinstance(bias, torch.Tensor)
    kept = terms_of(explainer).information_kept
    (slope,) = torch.autograd.grad(kept, bias)
    direction, step = slope / slope.norm(), 1e-2
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            bias += sign * step * direction
            values.append(float(terms_of_without_gradient(explainer).information_kept))
            bias -= sign * step * direction
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float(slope.norm()), rel=0.05)


def terms_of_without_gradient(explainer: MILR) -> Terms:
    with torch.no_grad():
        return terms_of(explainer)


def test_the_complement_is_what_the_mask_turned_over_decides_beyond_noise() -> None:
    """Of an open mask the rest is noise, and says no more; of a closed one it is all that the network sees."""
    complements = {}
    for score in (-40.0, 40.0):
        explainer = prepared(MilrSettings(gamma=0.5))
        last = explainer.modules.mask.combine[-1]
        torch.nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        torch.nn.init.constant_(last.bias, score)  # type: ignore[arg-type]
        terms = terms_of(explainer)
        complements[score] = terms.complement.item()
        whole = terms.loss(alpha=0, beta=0, gamma=0.5) - terms.loss(alpha=0, beta=0)
        assert whole.item() == pytest.approx(0.5 * complements[score], abs=1e-6)
    assert complements[40.0] == 0
    assert complements[-40.0] > 0.1


def test_gamma_opens_the_mask_where_the_rest_decides() -> None:
    explainer = prepared(MilrSettings(gamma=1.0, alpha=0.0))
    last = explainer.modules.mask.combine[-1]
    assert isinstance(last, torch.nn.Conv2d) and last.bias is not None
    slopes = []
    for gamma in (0.0, 1.0):
        terms = terms_of(explainer)
        (slope,) = torch.autograd.grad(terms.loss(alpha=0, beta=0, gamma=gamma), last.bias)
        slopes.append(float(slope.sum()))
    assert slopes[1] < slopes[0]  # a step against the slope raises the scores behind the mask


def test_without_gamma_there_is_no_third_pass() -> None:
    assert terms_of(prepared()).complement.item() == 0
