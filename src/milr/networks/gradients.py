"""Gradients through what a network computes without them for its own training: a backbone under `torch.no_grad`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class ThroughNoGrad(TorchFunctionMode):
    """While this is on, `torch.no_grad` does nothing; what is detached, or runs in inference mode, stays so."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch._C._set_grad_enabled and args == (False,):
            return None
        return func(*args, **(kwargs or {}))
