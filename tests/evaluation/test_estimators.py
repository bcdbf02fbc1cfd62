"""The null finds nothing, and both estimators find what a Gaussian pair is known to hold."""

import math

import pytest
import torch
from toy import features, prepared

from milr.evaluation.estimators import Features, gaussian_bits, infomax_bits


@pytest.mark.slow
def test_null_and_estimate_on_the_toy_world() -> None:
    explainer, (train, held_out) = prepared(), features()
    assert train.local.shape == (512, 16, 64, 1) and train.representation.shape == (512, 32)
    null = infomax_bits(explainer, train, held_out, 150, shuffled=True, seed=0)
    real = infomax_bits(explainer, train, held_out, 150, shuffled=False, seed=0)
    assert abs(null) < 0.05 and real > null + 0.02


def test_the_order_in_which_the_pictures_lie_does_not_matter() -> None:
    explainer, (train, held_out) = prepared(), features()
    order = held_out.representation[:, 0].argsort()  # alike ones beside each other, as a class's pictures are
    alike = Features(held_out.local[order], held_out.representation[order])
    found = [infomax_bits(explainer, train, part, 40, shuffled=False, seed=0) for part in (held_out, alike)]
    assert abs(found[0] - found[1]) < 0.02, found


@pytest.mark.slow
def test_the_gaussian_estimate_of_a_gaussian_pair_is_the_closed_form() -> None:
    """z shares one of its two dimensions' content with every place: I = -log2(1 - rho²) / 2."""
    explainer = prepared()
    rho, generator = 0.8, torch.Generator().manual_seed(0)
    explainer.modules.local.mean.zero_()
    explainer.modules.local.std.fill_(1.0)
    explainer.settings.bottleneck.whitening_share = 1.0

    def pairs(count: int) -> Features:
        z = torch.randn(count, 2, generator=generator)
        local = torch.randn(count, 16, 8, 1, generator=generator)
        local[:, 0] = rho * z[:, :1, None] + math.sqrt(1 - rho**2) * local[:, 0]
        return Features(local, z)

    truth = -0.5 * math.log2(1 - rho**2)
    found = gaussian_bits(explainer, pairs(4000), pairs(2000), 800, seed=0)
    assert 0.85 * truth < found < 1.1 * truth, (found, truth)
