"""Networks that draw random numbers in `eval()` and give another result by them now and then only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from milr.errors import MilrError
from milr.networks.inputs import Inputs, main_tensor
from milr.networks.passes import FirstPass, Passes
from milr.networks.probes import same

UNIFORM = (torch.rand, torch.rand_like, Tensor.uniform_)
COINS = (torch.bernoulli, Tensor.bernoulli, Tensor.bernoulli_)


class FixedDraws(TorchFunctionMode):
    """While this is on, all numbers that are drawn from 0 to 1 lie next to 0 or next to 1, and coins fall by them.

    Neither is 0 itself, which is drawn once in millions: a rate of 0 is often read as `torch.rand(1) > rate`.
    """

    def __init__(self, largest: bool) -> None:
        super().__init__()
        self.largest = largest

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        if func not in (*UNIFORM, *COINS):
            return made
        step = torch.finfo(made.dtype if made.is_floating_point() else torch.float32).eps
        drawn = 1.0 - step if self.largest else step
        if func in COINS:
            made.copy_(torch.as_tensor(_chances(func, *args, **kwargs), device=made.device) > drawn)
        else:
            low, high = _range(*args, **kwargs) if func is Tensor.uniform_ else (0.0, 1.0)
            made.fill_(low + drawn * (high - low))
        return made


def _chances(func: Callable[..., Any], values: Tensor, p: Any = None, **_: Any) -> Any:
    """Of a coin's falling on 1: what a call of one of COINS says, or its own default."""
    if p is not None:
        return p
    return 0.5 if func is Tensor.bernoulli_ else values


def _range(_: Tensor, *ends: float, **names: Any) -> tuple[float, float]:
    """From where to where a call of `uniform_` draws."""
    low = ends[0] if ends else names.get("from", 0.0)
    return low, ends[1] if len(ends) > 1 else names.get("to", 1.0)


def check_draws(pair: Passes, first: FirstPass, probes: Inputs) -> None:
    """MilrError where the network draws numbers, and its result is another if all are small, or all are large.

    So it is with stochastic depth of a few per cent that is left on, which two passes hardly ever show.
    """
    device = main_tensor(probes).device
    before = _generators(device)
    pair.first_pass(probes)
    if all(map(torch.equal, before, _generators(device))):
        return
    for largest in (False, True):
        with FixedDraws(largest):
            now = pair.first_pass(probes)
        if not same(now.output, first.output, pair.rounding) or not same(
            now.representation, first.representation, pair.rounding
        ):
            raise MilrError(
                "the network draws random numbers, also in eval(), and gives another result by some of them "
                "(stochastic depth or layer drop that is left on?): turn that off"
            )


def _generators(device: torch.device) -> list[Tensor]:
    """The states of torch's own generators that a network on this device draws from."""
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])
