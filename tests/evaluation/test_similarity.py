"""Likeness of maps: known ends, ties, and SSIM against its formula on one window."""

import pytest
import torch

from milr.evaluation.similarity import mean_ranks, rank_correlation, structural_similarity


def test_rank_correlation_sees_order_and_nothing_else() -> None:
    maps = torch.rand(5, 8, 8)
    assert torch.allclose(rank_correlation(maps, maps.exp() * 7), torch.ones(5).double())
    assert torch.allclose(rank_correlation(maps, -maps), -torch.ones(5).double())
    unrelated = rank_correlation(torch.rand(300, 8, 8), torch.rand(300, 8, 8))
    assert unrelated.mean().abs() < 0.03


def test_equal_values_share_their_rank_and_a_constant_map_has_no_correlation() -> None:
    assert mean_ranks(torch.tensor([[3.0, 1, 3, 0]])).tolist() == [[2.5, 1, 2.5, 0]]
    assert rank_correlation(torch.zeros(1, 4, 4), torch.rand(1, 4, 4)).isnan().all()


def test_structural_similarity_of_one_window() -> None:
    a, b = torch.rand(1, 5, 5), torch.rand(1, 5, 5)
    for maps in (a, b):
        maps -= maps.min()
        maps /= maps.max()
    covariance = ((a - a.mean()) * (b - b.mean())).mean()
    top = (2 * a.mean() * b.mean() + 1e-4) * (2 * covariance + 9e-4)
    bottom = (a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (a.var(correction=0) + b.var(correction=0) + 9e-4)
    assert structural_similarity(a, b).item() == pytest.approx((top / bottom).item(), rel=1e-4)
    assert torch.allclose(structural_similarity(a, 3 * a + 2), torch.ones(1).double())
