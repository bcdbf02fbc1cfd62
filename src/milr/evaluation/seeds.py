"""Seeds that have nothing to do with one another: two draws for different purposes must never be the same noise."""

from __future__ import annotations

from hashlib import sha256


def seed_of(purpose: str, *numbers: int) -> int:
    """A seed for what is drawn for one purpose, of one episode, image, or whatever the numbers count."""
    words = ":".join([purpose, *map(str, numbers)])
    return int.from_bytes(sha256(words.encode()).digest()[:7], "big")
