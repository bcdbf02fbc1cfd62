"""The bar of an evaluation counts to its end."""

import pytest
import torch

from milr.baselines.batching import PIXELS, at_once, laid_out
from milr.baselines.methods import METHODS
from milr.baselines.passes import Passes


@pytest.mark.parametrize("further", [0, 2])
def test_the_bar_is_full_when_every_map_is_measured(further: int) -> None:
    names = ("total", "decision", "random", "iba")
    with Passes(names, further, measuring=28, episodes=2) as passes:
        for _ in range(2):
            for fit in range(1 + further):
                for name in names:
                    if not fit or METHODS[name].fitted:
                        passes.update(name)
        assert passes.bar.n == passes.bar.total > 0
    with Passes(names, further, measuring=28, episodes=2, done=1) as resumed:
        assert resumed.bar.n == resumed.bar.total / 2


def test_a_pass_holds_a_bounded_number_of_pixels() -> None:
    assert at_once(torch.zeros(4, 3, 64, 64)) == 128 and at_once(torch.zeros(1, 3, 2000, 2000)) == 1
    images = torch.rand(2, 3, 5, 7)
    assert torch.equal(laid_out(images), images) and at_once(images) * 35 <= PIXELS
