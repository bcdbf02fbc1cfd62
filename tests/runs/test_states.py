"""States in a run folder: the newest whole one is taken, and what was written after it is cut off."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from milr.runs.folder import Run
from milr.runs.interrupts import patient, terminable
from milr.runs.states import newest_state, saved_states, state_files


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, {"promised": []})


def count(run: Run, steps: int, every: int = 2, stop_at: int | None = None) -> int:
    """A loop that counts, and writes a line a step; the step it began after."""
    with saved_states(run, every) as continuation:
        total = continuation.state["total"] if continuation.state else torch.zeros(())
        for step in range(continuation.done + 1, steps + 1):
            run.metrics(step=step, total=float(total + step))
            total = total + step
            if step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            continuation.on_state(step, lambda step=step, total=total: {"step": step, "total": total})  # type: ignore[misc]
    return continuation.done


def steps_of(run: Run) -> list[str]:
    return [line.split(",")[0] for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_the_last_two_states_are_kept(run: Run) -> None:
    count(run, steps=7)
    assert [path.name for path in state_files(run.folder)] == ["state-00000006.pt", "state-00000004.pt"]


def test_lines_past_the_state_and_a_torn_one_are_cut_off(run: Run) -> None:
    count(run, steps=5)
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "to')
    assert count(run, steps=8) == 4
    assert steps_of(run) == [f'{{"step": {step}' for step in range(1, 9)]
    saved = newest_state(run.folder)
    assert saved and saved["state"]["total"] == sum(range(1, 9))


def test_without_a_state_the_lines_of_before_are_gone(run: Run) -> None:
    count(run, steps=1)
    assert count(run, steps=3) == 0
    assert len(steps_of(run)) == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign"])
def test_a_damaged_state_costs_one_interval(run: Run, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    count(run, steps=6)
    newest = state_files(run.folder)[0]
    whole = newest.read_bytes()
    where = whole.index(torch.tensor(21.0).numpy().tobytes())  # 1 + ... + 6: a flipped bit makes another number
    flipped = whole[:where] + bytes([whole[where] ^ 1]) + whole[where + 1 :]
    newest.write_bytes({"cut": whole[:-100], "flipped": flipped, "empty": b"", "foreign": b"no archive"}[damage])
    assert count(run, steps=6) == 4
    assert newest.name in caplog.text
    assert steps_of(run) == [f'{{"step": {step}' for step in range(1, 7)]


def test_with_both_damaged_it_begins_again(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    count(run, steps=6)
    for path in state_files(run.folder):
        path.write_bytes(b"")
    assert count(run, steps=6) == 0
    assert "begins again" in caplog.text and len(steps_of(run)) == 6


def test_lost_lines_are_named(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    count(run, steps=4)
    (run.folder / "metrics.jsonl").write_text("")
    count(run, steps=6)
    assert "lost" in caplog.text and len(steps_of(run)) == 2


def test_sigterm_saves_the_step_and_stops(run: Run) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt):
        count(run, steps=9, every=100, stop_at=3)
    assert [path.name for path in state_files(run.folder)] == ["state-00000003.pt"]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert count(run, steps=9, every=100) == 3
    assert len(steps_of(run)) == 9


def test_a_second_signal_stops_at_once() -> None:
    reached: list[Any] = []
    with pytest.raises(KeyboardInterrupt), patient() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        reached.append(stop())
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("never")
    assert reached == [True]


def test_sigterm_is_an_interrupt_outside_of_a_loop() -> None:
    with pytest.raises(KeyboardInterrupt), terminable():
        os.kill(os.getpid(), signal.SIGTERM)
