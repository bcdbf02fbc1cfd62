"""The states that a run can be resumed from: the last two, each in a file of the run folder.

A state also says how long the files were to which the run adds lines (`metrics.jsonl`, ...). A resumed run cuts off
what was added later, a torn last line with it, so that every line is there once.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.files import require_whole
from milr.runs.checkpoints import load_checkpoint, save_checkpoint
from milr.runs.folder import METRICS, STATE_FILES, Run
from milr.runs.interrupts import patient
from milr.training.continuation import Continuation, State

log = logging.getLogger("milr")

SAVED_STATES = 2  # a damaged newest one costs one interval


@contextmanager
def saved_states(run: Run, every: int, appended: Sequence[str] = (METRICS,)) -> Iterator[Continuation]:
    """What a loop needs to go on in this run: its newest state, and a state saved every so many steps.

    Ctrl-C and SIGTERM save the state at the end of the present step and raise KeyboardInterrupt.
    appended: the files to which the loop adds lines. They are cut to what they were when the state was saved.
    """
    saved = newest_state(run.folder)
    cut(run.folder, saved["lengths"] if saved else dict.fromkeys(appended, 0))
    if saved:
        run.started -= saved["seconds"]
        log.info("going on after step %d", saved["step"])
    with patient() as stop:

        def on_state(step: int, take: Callable[[], State]) -> None:
            """Save the state if it is time, or if a signal came, which then ends the loop."""
            if step % every == 0 or stop():
                save_state(run, step, take(), appended)
            if stop():
                log.info("stopped after step %d: resume=%s goes on from there", step, run.folder)
                raise KeyboardInterrupt

        yield Continuation(saved["state"] if saved else None, on_state)


def save_state(run: Run, step: int, state: State, appended: Sequence[str]) -> None:
    """Save a state, with how long the appended files are now, and drop all but the newest two."""
    content = {
        "kind": "state",
        "step": step,
        "seconds": time.monotonic() - run.started,
        "lengths": {name: flushed_length(run.folder / name) for name in appended},
        "state": state,
    }
    save_checkpoint(run.folder / STATE_FILES.replace("*", f"{step:08d}"), content)
    for old in state_files(run.folder)[SAVED_STATES:]:
        old.unlink()


def newest_state(folder: Path) -> dict[str, Any] | None:
    """The newest state that is whole, what `save_state` saved; None if there is none. Damaged ones are named."""
    files = state_files(folder)
    for path in files:
        try:
            require_whole(path)
            return load_checkpoint(path, "state")
        except MilrError as error:
            log.warning("%s; it is left out", error)
            path.unlink()
    if files:
        log.warning("no state of %s can be read: it begins again", folder)
    return None


def state_files(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted(folder.glob(STATE_FILES), reverse=True)


def flushed_length(path: Path) -> int:
    """The length of a file in bytes, once these are on the disk; 0 if there is none."""
    if not path.exists():
        return 0
    with path.open("rb") as file:
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_size


def cut(folder: Path, lengths: dict[str, int]) -> None:
    """Cut files to these lengths. A shorter one lost lines: it is named, and left as it is."""
    for name, length in lengths.items():
        path = folder / name
        actual = path.stat().st_size if path.exists() else 0
        if actual > length:
            os.truncate(path, length)
        elif actual < length:
            log.warning("%s lost %d of its first %d bytes since the state was saved", path, length - actual, length)
