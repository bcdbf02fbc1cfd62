"""Likeness of maps: known ends, ties, and outliers."""

import torch

from milr.evaluation.similarity import mean_ranks, rank_correlation


def test_rank_correlation_sees_order_and_nothing_else() -> None:
    maps = torch.rand(5, 8, 8)
    assert torch.allclose(rank_correlation(maps, maps.exp() * 7), torch.ones(5).double())
    assert torch.allclose(rank_correlation(maps, -maps), -torch.ones(5).double())
    unrelated = rank_correlation(torch.rand(300, 8, 8), torch.rand(300, 8, 8))
    assert unrelated.mean().abs() < 0.03


def test_equal_values_share_their_rank_and_a_constant_map_has_no_correlation() -> None:
    assert mean_ranks(torch.tensor([[3.0, 1, 3, 0]])).tolist() == [[2.5, 1, 2.5, 0]]
    assert rank_correlation(torch.zeros(1, 4, 4), torch.rand(1, 4, 4)).isnan().all()


def test_an_outlier_that_two_maps_share_does_not_make_them_alike() -> None:
    first, second = torch.rand(300, 8, 8), torch.rand(300, 8, 8)
    first[:, 3, 3] = second[:, 3, 3] = 1e4
    assert rank_correlation(first, second).mean().abs() < 0.1
