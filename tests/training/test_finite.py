"""Losses that are not finite, found some steps later."""

from __future__ import annotations

import math

import torch

from milr.training.finite import FiniteCheck


def test_the_first_loss_that_is_not_finite_is_kept_with_its_step() -> None:
    finite = FiniteCheck(torch.device("cpu"))
    finite.update(1, torch.tensor(1.0))
    assert finite.first() is None
    for step, loss in ((2, float("inf")), (3, float("nan")), (4, 2.0)):
        finite.update(step, torch.tensor(loss))
    found = finite.first()
    assert found is not None and found.step == 2 and math.isinf(found.loss)
