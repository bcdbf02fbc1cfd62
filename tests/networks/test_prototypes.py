"""Prototypes and logits: identities and known values."""

import pytest
import torch

from milr.networks.prototypes import logits, prototypes
from milr.networks.settings import MetricSettings

EUCLIDEAN, COSINE = MetricSettings(), MetricSettings("cosine", temperature=0.1)


def test_the_prototype_of_one_support_is_the_support() -> None:
    support = torch.randn(5, 1, 8)
    assert torch.equal(prototypes(support, EUCLIDEAN), support[:, 0])


def test_the_prototype_is_the_mean() -> None:
    support = torch.randn(2, 5, 3, 8)  # two episodes at once
    assert torch.allclose(prototypes(support, EUCLIDEAN), support.mean(2))


def test_euclidean_logits_are_minus_the_squared_distance_over_the_temperature() -> None:
    query, prototype = torch.randn(7, 8), torch.randn(5, 8)
    expected = -torch.cdist(query, prototype).square() / 4
    assert torch.allclose(logits(query, prototype, MetricSettings("euclidean", 4.0)), expected, atol=1e-4)


def test_cosine_logits_are_the_cosine_over_the_temperature() -> None:
    query, support = torch.randn(7, 8), torch.randn(5, 1, 8)
    expected = torch.cosine_similarity(query[:, None], support[None, :, 0], dim=-1) / 0.1
    assert torch.allclose(logits(query, prototypes(support, COSINE), COSINE), expected, atol=1e-5)


def test_under_cosine_lengths_do_not_matter() -> None:
    query, support = torch.randn(7, 8), torch.randn(5, 3, 8)
    longer = support * torch.rand(5, 3, 1).add(0.5)
    before = logits(query, prototypes(support, COSINE), COSINE)
    assert torch.allclose(logits(9 * query, prototypes(longer, COSINE), COSINE), before, atol=1e-5)


def test_centring_takes_the_mean_from_both_sides() -> None:
    query, support, mean = torch.randn(7, 8), torch.randn(5, 2, 8), torch.randn(8)
    centred = MetricSettings("cosine", 0.1, centre=True)
    found = logits(query, prototypes(support, centred, mean), centred, mean)
    expected = logits(query - mean, prototypes(support - mean, COSINE), COSINE)
    assert torch.allclose(found, expected)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="needs the training images' mean"):
        prototypes(torch.randn(2, 1, 3), MetricSettings(centre=True))
    with pytest.raises(ValueError, match="not 'manhattan'"):
        prototypes(torch.randn(2, 1, 3), MetricSettings("manhattan"))


def test_gradients_are_finite_where_query_and_prototype_are_the_same() -> None:
    point = torch.ones(1, 4, requires_grad=True)
    logits(point, point, EUCLIDEAN).sum().backward()
    assert point.grad is not None and torch.isfinite(point.grad).all()
    found = logits(point, point, EUCLIDEAN)
    assert found.item() == 0
    point.grad = None
    found.sum().backward()
    assert point.grad.abs().max() == 0


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_logits_are_the_distances_own_whatever_all_features_share(shape: tuple[int, ...]) -> None:
    query, prototype = torch.randn(*shape, 7, 64), torch.randn(*shape, 5, 64)
    offset = 3000 + 1000 * torch.rand(64)
    found = logits(query + offset, prototype + offset, EUCLIDEAN)
    exact = -((query + offset).double()[..., :, None, :] - (prototype + offset).double()[..., None, :, :])
    assert found.shape == (*shape, 7, 5)
    assert torch.allclose(found.double(), -exact.square().sum(-1), rtol=1e-5)


def test_a_class_far_off_does_not_swallow_the_distances_between_the_others() -> None:
    prototype = torch.tensor([[6000.0, 0], [6001, 0], [-6e5, 0]])
    assert logits(torch.tensor([[6000.25, 0.0]]), prototype, EUCLIDEAN)[0, :2].tolist() == [-0.0625, -0.5625]


def test_half_precision_around_the_decision_does_not_reach_the_distance() -> None:
    query, prototype = torch.randn(7, 64) + 30, torch.randn(5, 64) + 30
    with torch.autocast("cpu", torch.bfloat16):
        found = logits(query, prototype, EUCLIDEAN)
    assert torch.equal(found, logits(query, prototype, EUCLIDEAN))
