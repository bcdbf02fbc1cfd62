"""Seeds for what is drawn: two draws for different purposes must never be the same noise, nor change each other's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import RLock

import torch


def seed_of(purpose: str, *numbers: int) -> int:
    """A seed for what is drawn for one purpose, of one episode, image, or whatever the numbers count."""
    words = ":".join([purpose, *map(str, numbers)])
    return int.from_bytes(sha256(words.encode()).digest()[:7], "big")


def seed_number(seed: int | str) -> int:
    """A 63-bit number from a seed that may be text, the same on every machine."""
    return int.from_bytes(sha256(str(seed).encode()).digest()[:8], "big") >> 1


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
