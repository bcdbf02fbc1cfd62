"""Every estimator against the closed form of a Gaussian pair, its cap or the lack of one, and numbers of any size."""

import math

import pytest
import torch
from torch import Tensor

from milr.explanation.settings import InfomaxSettings
from milr.fields import named_fields
from milr.information.critic import Critic, CriticShape
from milr.information.estimators import ESTIMATORS, flo, jensen_shannon
from milr.information.infomax import DENOMINATORS, batch_scores
from milr.information.statistics import Standardise

RHO = 0.9
TRUTH = -0.5 * math.log(1 - RHO**2)  # nats


def gaussian_pairs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, noise = torch.randn(2, count, 1, generator=generator, dtype=torch.double)
    return x, RHO * x + math.sqrt(1 - RHO**2) * noise


def optimal_scores(count: int, seed: int) -> Tensor:
    """log p(z|x) / p(z) of every pair, at two places that show the same: [K, 2, K]."""
    x, z = gaussian_pairs(count, seed)
    error = (z.T - RHO * x) / math.sqrt(1 - RHO**2)
    ratio = TRUTH - 0.5 * error.square() + 0.5 * z.T.square()
    return ratio[:, None].expand(-1, 2, -1)


@pytest.mark.parametrize("denominator", DENOMINATORS)
@pytest.mark.parametrize("name", ESTIMATORS)
def test_scores_of_the_optimal_critic_give_the_truth(name: str, denominator: str) -> None:
    values = []
    for seed in range(20):
        scores = optimal_scores(400, seed) + (1 if name == "nwj" else 0)  # NWJ's optimum is 1 + the log-ratio
        second = torch.zeros(400, 2, dtype=torch.double)  # the log of the mean of p(z|x) / p(z) over z
        values.append(ESTIMATORS[name].value(scores, denominator, second))
    assert float(torch.stack(values).mean()) == pytest.approx(TRUTH, abs=0.02)


@pytest.mark.parametrize("name", [name for name, row in ESTIMATORS.items() if row.bound == "lower"])
def test_a_lower_bound_stays_below_the_truth_with_any_other_critic(name: str) -> None:
    for change in (0.5, 1.2):
        values = []
        for seed in range(20):
            second = torch.full((400, 2), 0.3, dtype=torch.double)
            values.append(ESTIMATORS[name].value(change * optimal_scores(400, seed) + 0.2, "representations", second))
        assert float(torch.stack(values).mean()) < TRUTH


@pytest.mark.parametrize("name", ["mine", "smile"])
def test_what_is_no_bound_gets_past_the_truth(name: str) -> None:
    scores = torch.full((3, 1, 3), -20.0)
    scores[range(3), 0, range(3)] = 20.0  # three pairs say nothing of so much
    assert ESTIMATORS[name].bound == "none"
    assert ESTIMATORS[name].value(scores, "representations") > 4 * math.log(3)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize("size", [0.0, 50.0, 1e4])
def test_scores_of_any_size_give_finite_losses_and_gradients_where_they_are_right(name: str, size: float) -> None:
    scores = -size + torch.zeros(6, 3, 6)
    scores = scores + 2 * size * torch.eye(6)[:, None]
    scores.requires_grad_()
    second = torch.zeros(6, 3, requires_grad=True)
    loss = ESTIMATORS[name].loss(scores, "representations", second)
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite() and gradient.isfinite().all()


def test_infonce_alone_has_a_cap() -> None:
    scores = 60.0 * torch.eye(8)[:, None]
    assert ESTIMATORS["infonce"].value(scores, "same_place") == pytest.approx(math.log(8), abs=1e-4)
    assert ESTIMATORS["mine"].value(scores, "same_place") > 50


def test_pairs_that_belong_together_are_left_out_of_the_means_over_independent_ones() -> None:
    scores = torch.zeros(5, 2, 5) + 7.0 * torch.eye(5)[:, None]
    for name, value in {"nwj": 7 - math.exp(-1), "mine": 7.0, "smile": 7.0, "jsd": 7.0}.items():
        for denominator in DENOMINATORS:
            assert ESTIMATORS[name].value(scores, denominator) == pytest.approx(value, abs=1e-5)
    assert -jensen_shannon(scores, "places") == pytest.approx(math.log1p(math.exp(-7)) + math.log(2), abs=1e-6)


def test_flo_is_highest_where_the_second_score_is_the_logarithm_of_the_denominator() -> None:
    scores = optimal_scores(300, 0) + torch.linspace(-1, 1, 300, dtype=torch.double)[:, None, None]  # a shift of each x
    right = torch.linspace(-1, 1, 300, dtype=torch.double)[:, None].expand(-1, 2)
    best = float(flo(scores, "representations", right))
    assert best == pytest.approx(TRUTH, abs=0.1)
    assert all(float(flo(scores, "representations", right + shift)) < best for shift in (-0.5, 0.5))
    with pytest.raises(ValueError, match="second score"):
        flo(scores, "representations")


def test_every_estimator_is_a_choice_of_the_settings() -> None:
    (choices,) = (each.metadata["choices"] for key, _, each in named_fields(InfomaxSettings()) if key == "estimator")
    assert set(choices) == set(ESTIMATORS)


@pytest.mark.slow
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_critic_fitted_by_it_finds_a_gaussian_pairs_information(name: str) -> None:
    """One dimension, rho 0.9: 0.83 nats. A critic that sees z linearly cannot say it all (0.41), with an MLP it can."""
    plain = Standardise(torch.zeros(1), torch.ones(1))
    shape = CriticShape(width=64, dimension=16, place=False, representation_width=64, second=ESTIMATORS[name].second)
    critic = Critic(plain, plain, (1, 1), shape)
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)

    def scores_of(count: int, seed: int) -> tuple[Tensor, Tensor | None]:
        x, z = (side.float() for side in gaussian_pairs(count, seed))
        both = critic.project_locations(x[:, None]), critic.project_representation(z)
        return batch_scores(*both), critic.second_scores(*both)

    for step in range(1000):
        scores, second = scores_of(128, step)
        loss = ESTIMATORS[name].loss(scores, "representations", second)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        values = []
        for seed in range(20):
            scores, second = scores_of(256, 10_000 + seed)
            values.append(ESTIMATORS[name].value(scores, "representations", second))
    assert 0.8 * TRUTH < float(torch.stack(values).mean()) < 1.05 * TRUTH
