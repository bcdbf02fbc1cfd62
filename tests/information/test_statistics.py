"""Streamed statistics and whitening equal what the whole data gives."""

import pytest
import torch

from milr.information.statistics import ChannelStatistics
from milr.information.whitening import fit_whitening


def test_streamed_statistics_equal_those_of_all_at_once() -> None:
    features = 5 + 3 * torch.randn(30, 4, 6, 6)
    stream = ChannelStatistics()
    for part in features.split([7, 13, 10]):
        stream.add(part)
    standardise = stream.standardise()
    assert torch.allclose(standardise.mean, features.mean((0, 2, 3)), atol=1e-5)
    assert torch.allclose(standardise.std, features.std((0, 2, 3), correction=0), atol=1e-5)


def test_no_features_no_statistics() -> None:
    with pytest.raises(ValueError, match="no features"):
        ChannelStatistics().standardise()


@pytest.mark.parametrize(("images", "size"), [(200, 20), (15, 40)])
def test_whitened_representation_has_mean_zero_and_covariance_one(images: int, size: int) -> None:
    z = torch.randn(images, size) @ torch.randn(size, size) + 7
    whitened = fit_whitening(z, share=1.0)(z)
    assert whitened.mean(0).abs().max() < 1e-3
    assert torch.allclose(whitened.T.cov(), torch.eye(whitened.shape[1]), atol=1e-3)
    assert whitened.shape[1] == min(size, images - 1)


def test_whitening_keeps_the_share_of_variance_that_was_asked_for() -> None:
    z = torch.randn(500, 10) * torch.tensor([10.0, 5.0, 2.0, 1, 1, 1, 1, 1, 1, 1])
    whitening = fit_whitening(z, share=0.9)
    assert whitening.share >= 0.9 and whitening.projection.shape[1] == 2  # (100 + 25) of 136
    assert fit_whitening(z, share=0.5).projection.shape[1] == 1


@pytest.mark.parametrize(("z", "share"), [(torch.randn(5, 3), 0.0), (torch.randn(1, 3), 0.9), (torch.ones(5, 3), 0.9)])
def test_whitening_refuses_what_cannot_be_whitened(z: torch.Tensor, share: float) -> None:
    with pytest.raises(ValueError):
        fit_whitening(z, share)
