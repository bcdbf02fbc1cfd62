"""The Infomax estimator against closed forms, its cap and its identities."""

import math

import pytest
import torch
from torch import Tensor

from milr.information.infomax import Critic, banked_information, batch_information, mean_cap
from milr.information.statistics import Standardise


def projections(images: int = 6, locations: int = 5, dimension: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    local = torch.randn(images, locations, dimension, generator=generator)
    return local, torch.randn(images, dimension, generator=generator)


def test_batch_information_is_equation_2_written_out() -> None:
    local, representation = projections()
    images, locations, _ = local.shape
    expected = torch.empty(images, locations)
    for j in range(images):
        # The denominator of eq. 3: all locations of all images, the own one included.
        denominator = sum((local[m, n] @ representation[j]).exp() for m in range(images) for n in range(locations))
        for i in range(locations):
            own = local[j, i] @ representation[j]
            expected[j, i] = own - (denominator / (locations * images)).log()
    assert torch.allclose(batch_information(local, representation), expected, atol=1e-5)


def test_further_locations_count_in_the_denominator_like_those_of_the_batch() -> None:
    local, representation = projections()
    whole = batch_information(local, representation)
    part = batch_information(local[:4], representation[:4], others=local[4:].flatten(0, 1))
    assert torch.allclose(part, whole[:4], atol=1e-5)


def test_bank_of_the_other_images_gives_the_batch_information() -> None:
    local, representation = projections()
    alone = banked_information(local[:1], representation[:1], local[1:].flatten(0, 1))
    assert torch.allclose(alone, batch_information(local, representation)[:1], atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 30.0, 1000.0])
def test_no_score_gets_past_the_caps(scale: float) -> None:
    local, representation = projections()
    # The most favourable scores there are: every location of the own image high, all others low.
    local = scale * torch.nn.functional.one_hot(torch.arange(6), 6)[:, None].expand(6, 5, 6).float()
    representation = scale * torch.eye(6)
    information = batch_information(local, representation)
    assert information.mean() <= math.log(6) + 1e-4
    assert information.max() <= math.log(6 * 5) + 1e-4
    assert banked_information(local[:1], representation[:1], local[1:].flatten(0, 1)).mean() <= mean_cap(5, 25) + 1e-4


def test_constant_scores_carry_nothing() -> None:
    local, representation = torch.ones(4, 3, 2), torch.ones(4, 2)
    assert batch_information(local, representation).abs().max() < 1e-6


def gaussian_pairs(count: int, correlation: float, dimensions: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, dimensions, generator=generator)
    noise = torch.randn(count, dimensions, generator=generator)
    return x[:, :, None, None], correlation * x[:, :] + math.sqrt(1 - correlation**2) * noise


def fitted_critic(
    information: float, images: int, dimensions: int, shuffle: bool = False, steps: int = 600
) -> tuple[Critic, float]:
    """A critic fitted on Gaussian pairs of known information (nats), and the correlation that gives it."""
    correlation = math.sqrt(1 - math.exp(-2 * information / dimensions))  # I = -(d/2) ln(1 - rho^2)
    plain = Standardise(torch.zeros(dimensions), torch.ones(dimensions))
    torch.manual_seed(0)
    critic = Critic(plain, plain, width=64, dimension=16)
    optimiser = torch.optim.Adam(critic.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    for step in range(steps):
        x, z = gaussian_pairs(images, correlation, dimensions, seed=step)
        z = z.roll(1, 0) if shuffle else z
        loss = -batch_information(critic.project_local(x), critic.project_representation(z)).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
    return critic, correlation


def held_out(critic: Critic, correlation: float, images: int, dimensions: int) -> float:
    with torch.no_grad():
        values = []
        for seed in range(20):
            x, z = gaussian_pairs(images, correlation, dimensions, seed=10_000 + seed)
            values.append(batch_information(critic.project_local(x), critic.project_representation(z)).mean())
    return float(torch.stack(values).mean())


@pytest.mark.slow
@pytest.mark.parametrize("share_of_cap", [0.0, 0.5])
def test_gaussian_information_is_found(share_of_cap: float) -> None:
    images, dimensions = 128, 8
    truth = share_of_cap * math.log(images)
    critic, correlation = fitted_critic(truth, images, dimensions)
    estimate = held_out(critic, correlation, images, dimensions)
    # A lower bound: at most the truth (and its sampling error), and not far under it.
    assert truth - 0.3 < estimate < truth + 0.1


@pytest.mark.slow
def test_gaussian_information_past_the_cap_sits_just_under_it() -> None:
    images, dimensions = 64, 8
    cap = math.log(images)
    critic, correlation = fitted_critic(2 * cap, images, dimensions)
    assert 0.85 * cap < held_out(critic, correlation, images, dimensions) <= cap


@pytest.mark.slow
def test_null_critic_fitted_on_shuffled_pairs_finds_nothing_on_held_out_pairs() -> None:
    critic, correlation = fitted_critic(2.0, 128, 8, shuffle=True, steps=1500)
    assert abs(held_out(critic, correlation, 128, 8)) < 0.05


@pytest.mark.parametrize("scores_at_once", [6, 40, 6 * 13, 1000])  # 1, 6 and 13 locations at once, of 30 and of 7; all
def test_in_chunks_the_information_and_its_gradients_are_those_of_the_whole(scores_at_once: int) -> None:
    found = []
    for size in (1 << 24, scores_at_once):
        local, representation = (tensor.double().requires_grad_() for tensor in projections())
        others = torch.randn(7, 4, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
        information = batch_information(local, representation, others, size)
        weights = torch.linspace(-1, 2, information.numel()).view(information.shape)  # of a sum some gradients are zero
        gradients = torch.autograd.grad((weights * information).sum(), (local, representation, others))
        found.append((information, *gradients, banked_information(local, representation, others, size)))
    assert all(torch.allclose(whole, chunked, atol=1e-12) for whole, chunked in zip(*found, strict=True))
    assert all(gradient.abs().max() > 0.01 for gradient in found[0][1:4])


def test_chunks_keep_no_more_than_their_own_scores_for_the_backward_pass() -> None:
    images, locations, dimension = 8, 256, 4
    local, representation = (
        torch.randn(*shape, requires_grad=True) for shape in ((images, locations, dimension), (images, dimension))
    )

    def largest_kept(scores_at_once: int) -> int:
        sizes: list[int] = []

        def note(tensor: Tensor) -> Tensor:
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            batch_information(local, representation, None, scores_at_once).sum()
        return max(sizes)

    assert largest_kept(1 << 24) == images * images * locations  # the whole matrix of scores
    assert largest_kept(1 << 10) <= images * locations * dimension  # the projections themselves
