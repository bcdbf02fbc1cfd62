"""Ctrl-C and SIGTERM: between steps they stop a run at once, within the loop at the end of the present step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def handled(signals: tuple[signal.Signals, ...], handler: Handler) -> Iterator[None]:
    """Let `handler` answer these signals during the body. Only the main thread may; in another nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in signals}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


@contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends the body as Ctrl-C does, so that a run can say how it ended."""

    def stop(number: int, frame: FrameType | None) -> None:
        """As if Ctrl-C were pressed."""
        raise KeyboardInterrupt

    with handled((signal.SIGTERM,), stop):
        yield


@contextmanager
def patient() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether to stop; a second signal stops at once.

    The body is to raise KeyboardInterrupt when it has put its things in order; at its end at the latest it is raised.
    """
    asked: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        """Remember the first signal; a second one stops at once."""
        if asked:
            raise KeyboardInterrupt
        asked.append(number)  # and no more: a message from here might fall into the middle of another

    with handled((signal.SIGINT, signal.SIGTERM), note):
        yield lambda: bool(asked)
        if asked:
            raise KeyboardInterrupt
