"""Both upper bounds against closed forms, and what their gradients reach."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from milr.information.bottleneck import (
    VariationalBottleneck,
    capacity,
    gaussian_kl,
    gaussian_log_likelihood,
    noise_like,
    occlude,
)
from milr.information.statistics import Standardise


def plain(channels: int) -> Standardise:
    return Standardise(torch.zeros(channels), torch.ones(channels))


def test_gaussian_kl_is_torchs() -> None:
    mean, log_sigma = torch.randn(3, 5, 2, 2), torch.randn(3, 5, 2, 2)
    p = Independent(Normal(mean.movedim(1, -1), log_sigma.exp().movedim(1, -1)), 1)
    q = Independent(Normal(torch.zeros(3, 2, 2, 5), torch.ones(3, 2, 2, 5)), 1)
    assert torch.allclose(gaussian_kl(mean, log_sigma), kl_divergence(p, q), atol=1e-5)


def test_capacity_is_torchs_kl_away_from_the_guard() -> None:
    mask, features = torch.rand(2, 4, 3, 3) * 0.99, torch.randn(2, 4, 3, 3)
    p = Normal(mask * features, 1 - mask)
    expected = kl_divergence(p, Normal(torch.zeros(()), torch.ones(()))).sum(1)
    assert torch.allclose(capacity(mask, features), expected, rtol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1e-12, 0.5, 1 - 1e-12, 1.0])
def test_capacity_is_finite_at_every_mask_and_nothing_passes_a_closed_one(value: float) -> None:
    mask = torch.full((1, 3, 2, 2), value, requires_grad=True)
    nats = capacity(mask, torch.randn(1, 3, 2, 2))
    nats.sum().backward()
    assert torch.isfinite(nats).all() and mask.grad is not None and torch.isfinite(mask.grad).all()
    if value == 0:
        assert nats.abs().max() == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("score", [-3.0, 0.0, 6.0, 9.0, 12.0, 16.0])
def test_capacity_counts_what_passes_however_open_the_mask(score: float, dtype: torch.dtype) -> None:
    mask = torch.sigmoid(torch.full((1, 4, 3, 3), score, dtype=dtype))
    features = torch.randn(1, 4, 3, 3, dtype=dtype)
    a, u = mask.double(), features.double()
    expected = kl_divergence(Normal(a * u, 1 - a), Normal(torch.zeros(()).double(), torch.ones(()).double())).sum(1)
    assert torch.allclose(capacity(mask, features).double(), expected, rtol=1e-5)
    # the noise that the closed form counts on is the noise that is there
    left = occlude(torch.zeros_like(features), mask, "noise", torch.ones_like(features))
    assert torch.allclose(left, 1 - mask, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float32, 32), (torch.float64, 64), (torch.bfloat16, 16)])
def test_a_mask_of_exactly_1_passes_the_number_and_counts_all_that_it_can_hold(dtype: torch.dtype, bits: int) -> None:
    mask, features = torch.sigmoid(torch.full((1, 1, 3, 3), 60.0, dtype=dtype)), torch.randn(1, 1, 3, 3).to(dtype)
    assert mask.min() == 1
    assert torch.equal(occlude(features, mask, "noise", torch.randn(1, 1, 3, 3).to(dtype)), features)
    found = capacity(mask, features) / math.log(2)
    assert torch.isfinite(found).all() and (found >= bits).all() and found.min() < bits + 1


def test_capacity_grows_with_the_mask() -> None:
    features = torch.randn(1, 8, 4, 4)
    levels = torch.stack([capacity(torch.full((1, 8, 4, 4), a), features) for a in (0.1, 0.3, 0.5, 0.7, 0.9)])
    assert (levels.diff(dim=0) > 0).all()


def test_likelihood_is_torchs_up_to_its_constant() -> None:
    mean, log_sigma, whitened = torch.randn(2, 3, 2, 2), torch.randn(2, 3, 2, 2), torch.randn(2, 3)
    p = Independent(Normal(mean.movedim(1, -1), log_sigma.exp().movedim(1, -1)), 1)
    expected = p.log_prob(whitened[:, None, None]) + 1.5 * math.log(2 * math.pi)
    assert torch.allclose(gaussian_log_likelihood(mean, log_sigma, whitened), expected, atol=1e-4)


def fit_likelihood(bottleneck: VariationalBottleneck, correlation: float, mask: float) -> torch.Tensor:
    """Fits on linear-Gaussian pairs through a fixed mask; the mean KL on held-out pairs."""
    optimiser = torch.optim.Adam(bottleneck.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 500)
    generator = torch.Generator().manual_seed(0)

    def pairs(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, noise = torch.randn(2, count, 3, generator=generator)
        return mask * x[:, :, None, None], correlation * x + math.sqrt(1 - correlation**2) * noise

    for _ in range(500):
        x, z = pairs(512)
        loss = -gaussian_log_likelihood(*bottleneck(x), z).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    with torch.no_grad():
        return gaussian_kl(*bottleneck(pairs(20_000)[0])).mean()


@pytest.mark.parametrize("correlation", [0.5, 0.9])
def test_mean_kl_of_linear_gaussian_pairs_is_their_information(correlation: float) -> None:
    torch.manual_seed(0)
    found = fit_likelihood(VariationalBottleneck(plain(3), 3, 64), correlation, mask=1.0)
    truth = -1.5 * math.log(1 - correlation**2)
    assert float(found) == pytest.approx(truth, rel=0.05)


def test_a_closed_mask_leaves_no_information() -> None:
    torch.manual_seed(0)
    assert float(fit_likelihood(VariationalBottleneck(plain(3), 3, 64), 0.9, mask=0.0)) < 0.01


def test_standardise_survives_a_channel_without_variance() -> None:
    statistics = Standardise(torch.tensor([1.0, 2.0]), torch.tensor([0.0, 3.0]))
    out = statistics(torch.tensor([[1.0, 5.0]])[:, :, None, None])
    assert out.flatten().tolist() == [0.0, 1.0]


def test_kl_gradient_reaches_the_input_and_leaves_mu_and_sigma_alone() -> None:
    bottleneck = VariationalBottleneck(plain(3), 2, 8)
    torch.nn.init.normal_(bottleneck.layers[-1].weight)  # type: ignore[arg-type]
    occluded = torch.randn(2, 3, 4, 4, requires_grad=True)
    gaussian_kl(*bottleneck.without_gradient(occluded)).mean().backward()
    assert occluded.grad is not None and occluded.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in bottleneck.parameters())


def test_open_masks_change_nothing_and_closed_ones_leave_only_the_fill() -> None:
    local, noise = torch.randn(2, 3, 4, 4), torch.randn(1, 3, 4, 4)
    ones, zeros = torch.ones_like(local), torch.zeros_like(local)
    assert torch.equal(occlude(local, ones, "noise", noise), local)
    assert torch.equal(occlude(local, ones, "zero"), local)
    assert torch.equal(occlude(local, zeros, "noise", noise), noise.expand_as(local))
    assert torch.equal(occlude(local, zeros, "zero"), zeros)


def test_noise_has_the_features_mean_and_std_and_follows_its_seed() -> None:
    statistics = Standardise(torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0]))
    noise = noise_like(statistics, torch.empty(50, 2, 20, 20), torch.Generator().manual_seed(1))
    assert torch.allclose(noise.mean((0, 2, 3)), statistics.mean, atol=0.05)
    assert torch.allclose(noise.std((0, 2, 3)), statistics.std, rtol=0.03)
    assert torch.equal(noise, noise_like(statistics, torch.empty(50, 2, 20, 20), torch.Generator().manual_seed(1)))
