"""Where torch makes tensors that name no device: on the CPU within milr, as the user set it within their functions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

_users: ContextVar[torch.device | None] = ContextVar("users", default=None)


@contextmanager
def on_the_cpu() -> Iterator[None]:
    """Tensors that name no device are made on the CPU, whatever `torch.set_default_device` said.

    Its generators are the CPU's, and what is computed goes to the network's device by name.
    """
    users = torch.get_default_device()
    if users.type == "cpu":
        yield
        return
    token = _users.set(users)
    try:
        with torch.device("cpu"):
            yield
    finally:
        _users.reset(token)


@contextmanager
def on_the_users() -> Iterator[None]:
    """Within it the device is as the user set it: for the network, and for functions that they gave."""
    users = _users.get()
    if users is None:
        yield
        return
    with torch.device(users):
        yield
