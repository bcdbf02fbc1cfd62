"""Eq. 1's inner terms: against loops, never negative, against closed forms, and their mean on a known distribution."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from milr.information import readings
from milr.information.infomax import DENOMINATORS, batch_information
from milr.information.readings import READINGS, ProjectedBank, divergence, read

K, N, M, R, P = 3, 4, 5, 6, 7


def projections(scale: float = 1.0) -> tuple[Tensor, Tensor, ProjectedBank]:
    generator = torch.Generator().manual_seed(0)
    u, v, locations, z = (
        scale * torch.randn(*shape, generator=generator) for shape in ((K, N, P), (K, P), (M, N, P), (R, P))
    )
    return u, v, ProjectedBank(locations, z)


def kl_from_uniform(scores: list[Tensor]) -> float:
    """Sum of p ln(p / q), p the softmax of the scores and q uniform, by a loop."""
    weights = [math.exp(float(score)) for score in scores]
    shares = [weight / sum(weights) for weight in weights]
    return sum(share * math.log(share * len(shares)) for share in shares)


@pytest.mark.parametrize("denominator", list(DENOMINATORS))
def test_a_divergence_is_equation_1s_inner_term_written_out(denominator: str) -> None:
    u, v, bank = projections()
    by_z, by_place = (read(reading, denominator, u, v, bank) for reading in ("representation", "place"))
    for k in range(K):
        for n in range(N):
            own = u[k, n] @ v[k]
            scores_z = [own, *(u[k, n] @ bank.representations[m] for m in range(R))]
            scores_place = [own, *(bank.locations[m, n] @ v[k] for m in range(M))]
            assert by_z[k, n] == pytest.approx(kl_from_uniform(scores_z), abs=1e-5)
            assert by_place[k, n] == pytest.approx(kl_from_uniform(scores_place), abs=1e-5)


@pytest.mark.parametrize("denominator", list(DENOMINATORS))
def test_the_sample_reading_is_the_estimate_with_the_bank_as_the_other_images(denominator: str) -> None:
    u, v, _ = projections()
    for k in range(K):
        others = [m for m in range(K) if m != k]
        bank = ProjectedBank(u[others], v[others])
        found = read("sample", denominator, u[k : k + 1], v[k : k + 1], bank)
        assert torch.allclose(found[0], batch_information(u, v, denominator)[k], atol=1e-5)


@pytest.mark.parametrize("denominator", list(DENOMINATORS))
@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("scores", [1, 13])  # of a block
def test_in_parts_or_alone_a_reading_is_that_of_the_whole(
    scores: int, reading: str, denominator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    u, v, bank = projections()
    whole = read(reading, denominator, u, v, bank)
    monkeypatch.setattr(readings, "SCORES_AT_ONCE", 1)
    monkeypatch.setattr(readings, "IN_CACHE", scores)
    assert torch.allclose(read(reading, denominator, u, v, bank), whole, atol=1e-6)
    assert torch.allclose(read(reading, denominator, u[1:2], v[1:2], bank)[0], whole[1], atol=1e-6)
    if denominator != "places" or reading != "sample":  # there all places stand in one denominator
        some = torch.tensor([2, 0])
        assert torch.allclose(read(reading, denominator, u[:, some], v, bank.at(some)), whole[:, some], atol=1e-6)


@pytest.mark.parametrize("denominator", list(DENOMINATORS))
@pytest.mark.parametrize("scale", [0.0, 1e-3, 1.0, 10.0])
def test_divergences_are_never_negative_and_no_reading_gets_past_its_cap(scale: float, denominator: str) -> None:
    u, v, bank = projections(scale)
    for reading in READINGS:
        found = read(reading, denominator, u, v, bank)
        assert torch.isfinite(found).all()
        assert (found.mean(1) <= bank.cap(reading, denominator) + 1e-4).all()
        if reading != "sample":
            assert found.min() >= -1e-6
            assert found.max() <= bank.cap(reading, denominator) + 1e-4


def test_the_caps_are_the_logs_of_the_images_compared() -> None:
    *_, bank = projections()
    assert {bank.cap(reading, "representations") for reading in ("sample", "representation")} == {math.log(1 + R)}
    assert {bank.cap("place", denominator) for denominator in DENOMINATORS} == {math.log(1 + M)}
    assert bank.cap("sample", "places") == bank.cap("sample", "same_place") == math.log(1 + M)


def test_a_divergence_of_all_weight_on_one_is_the_log_of_their_number() -> None:
    assert divergence(torch.tensor(500.0), torch.zeros(3)) == pytest.approx(math.log(4))
    assert divergence(torch.tensor(7.0), torch.full((3,), 7.0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rho", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("x", [-1.5, 0.0, 1.0])
def test_with_the_optimal_critic_a_gaussian_pairs_divergence_is_the_closed_form(rho: float, x: float) -> None:
    """p(z|x) = N(rho x, 1 - rho²): KL(p(z|x) || p(z)) = -ln(1 - rho²)/2 + rho²(x² - 1)/2. The same for p(x|z)."""
    generator = torch.Generator().manual_seed(0)
    others = torch.randn(200_000, generator=generator, dtype=torch.float64)

    def terms(value: Tensor, own: bool) -> Tensor:  # f(x, z) = u·v = ln p(z|x)/p(z), up to a constant
        square, one = -(rho**2) * value**2 / 2, torch.ones_like(value)
        return torch.stack([rho * value, square, one] if own else [value, one, square], -1)

    scale = 1 / (1 - rho**2)
    given = torch.tensor([[x]], dtype=torch.float64)
    truth = -0.5 * math.log(1 - rho**2) + rho**2 * (x**2 - 1) / 2
    own_z = torch.tensor([rho * x], dtype=torch.float64)  # one pair among so many: its say is lost
    by_z = ProjectedBank(torch.zeros(1, 1, 3, dtype=torch.float64), terms(others, False))
    found = read("representation", "representations", scale * terms(given, True), terms(own_z, False), by_z)
    assert float(found) == pytest.approx(truth, abs=0.02)
    by_place = ProjectedBank(scale * terms(others, True)[:, None], torch.zeros(1, 3, dtype=torch.float64))
    pair = scale * terms(own_z[:, None], True), terms(given[0], False)
    assert float(read("place", "same_place", *pair, by_place)) == pytest.approx(truth, abs=0.02)


def test_all_readings_have_the_mutual_information_as_their_mean_on_a_discrete_joint_distribution() -> None:
    """x and z of 3 and 4 values: with f = ln p(x,z)/p(x)p(z) and a bank as frequent as the marginals, all are exact."""
    counts = torch.tensor([[12.0, 2, 4, 2], [1, 9, 1, 9], [3, 3, 10, 4]], dtype=torch.float64)
    joint = counts / counts.sum()
    p_x, p_z = joint.sum(1), joint.sum(0)
    ratio = (joint / (p_x[:, None] * p_z)).log()
    truth = float((joint * ratio).sum())
    times = 2000  # a bank so large that the own pair, counted once more, has no say
    x_bank = torch.arange(3).repeat_interleave((p_x * counts.sum() * times).round().long())
    z_bank = torch.arange(4).repeat_interleave((p_z * counts.sum() * times).round().long())
    pairs = [(a, b) for a in range(3) for b in range(4)]
    weights = torch.stack([joint[a, b] for a, b in pairs])
    u = torch.stack([ratio[a] for a, _ in pairs])[:, None]  # f(x, z) = u·v with v the one-hot of z
    v = torch.stack([torch.eye(4, dtype=torch.float64)[b] for _, b in pairs])
    bank = ProjectedBank(ratio[x_bank][:, None], torch.eye(4, dtype=torch.float64)[z_bank])
    for reading in READINGS:
        for denominator in DENOMINATORS:
            mean = float((weights * read(reading, denominator, u, v, bank)[:, 0]).sum())
            assert mean == pytest.approx(truth, abs=1e-4), (reading, denominator)
    assert truth > 0.1
