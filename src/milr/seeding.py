"""First weights from a seed, with nobody else's draws changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import torch

_one_at_a_time = RLock()  # the generator is the process's: two threads would draw from each other's seed


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Within it torch's CPU generator starts from `seed`, and tensors are made on the CPU; then it is as it was before.

    For layers, which draw their first weights from the process's generator and take none of one's own.
    `torch.manual_seed` seeds every other device as well, whose generators nobody puts back.
    """
    with _one_at_a_time, torch.device("cpu"):
        before = torch.default_generator.get_state()
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            torch.default_generator.set_state(before)
