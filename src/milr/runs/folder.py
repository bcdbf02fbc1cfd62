"""Run folders: one for each run of a stage, never shared, and never mistaken for finished while it is not.

<outputs>/<stage>/<date>_<time>[-2...]/
    config.yaml     the settings, resolved
    manifest.json   what ran, from what, on what, with what result; `state` is the word that counts
    metrics.jsonl   one line of JSON for each step that is recorded
    log.txt         what the console showed; locked while the run is going on
    *.pt            checkpoints
    state-*.pt      of a run that is not finished: where it can be resumed (`states.py`)
    DONE            written last, once every promised file is there: without it a run is not finished
"""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from milr.errors import MilrError
from milr.files import sha256_of, write_atomically
from milr.runs.disk import LogFile, disk_errors
from milr.runs.locks import lock

log = logging.getLogger("milr")

MANIFEST = "manifest.json"
CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
LOG = "log.txt"
MARKER = "DONE"
STATE_FILES = "state-*.pt"
REPORT, SUBMITIT = "report", ".submitit"  # in a sweep's folder, beside its runs: its report, and its launcher's files
SET_ASIDE = "set_aside"  # there too: what is left of jobs that had to begin anew
NO_RUNS = (REPORT, SUBMITIT, SET_ASIDE)
RUNNING, FINISHED, FAILED, INTERRUPTED = "running", "finished", "failed", "interrupted"


@dataclass
class Run:
    """An open run folder. `open_run` makes it."""

    folder: Path
    manifest: dict[str, Any]
    started: float = field(default_factory=time.monotonic)
    opened: datetime = field(default_factory=lambda: datetime.now().astimezone())
    watchers: list[Callable[[Mapping[str, Any]], None]] = field(default_factory=list)  # get every line of metrics

    def path(self, name: str) -> Path:
        """Where a file of this run goes; folders on the way are made."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def metrics(self, **values: float | int | str | bool | None) -> None:
        """Add one line to `metrics.jsonl`; a number that is not finite becomes null."""
        with self.path(METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(plain(values)) + "\n")
        for watch in self.watchers:
            watch(values)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The lines of `metrics.jsonl` so far; where a run goes on, those of its earlier sessions too."""
        path = self.folder / METRICS
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def record(self, **entries: Any) -> None:
        """Put entries (plain values) into the manifest and write it."""
        self.manifest.update(entries)
        text = json.dumps(plain(self.manifest), indent=2, ensure_ascii=False) + "\n"
        # A name that is no text in this locale has characters that UTF-8 lacks; JSON has escapes for them.
        write_atomically(self.folder / MANIFEST, lambda file: file.write(text.encode(errors="backslashreplace")))

    def promise(self, *names: str) -> None:
        """Name files without which the run must not count as finished."""
        self.record(promised=[*dict.fromkeys([*self.manifest["promised"], *names])])

    def record_data(self, data: Mapping[str, Any], split: Mapping[str, Any]) -> None:
        """Record what was looked at. Errors: MilrError if a resumed run finds other data than it was started with."""
        before = self.manifest.get("data") or data
        if before["fingerprint"] != data["fingerprint"]:
            raise MilrError(
                f"the data in {data['root']} changed since the run {self.folder} was started "
                f"({before['images']} pictures then, {data['images']} now): start a new run"
            )
        self.record(data=data, split=split)

    def record_checkpoint(self, name: str) -> None:
        """Name the checkpoint that later stages take, with its sha256."""
        self.record(checkpoint={"file": name, "sha256": sha256_of(self.path(name))})


@contextmanager
def open_run(parent: Path, stage: str, name: str, manifest: Mapping[str, Any]) -> Iterator[Run]:
    """Make `parent/name` (or `name-2`, ...) and keep its manifest's state until the body ends.

    `manifest` holds the entries known from the start. Errors: MilrError where the folder cannot be made or written,
    at the start or later: a disk that is full even for the manifest leaves the state at "running".
    """
    try:
        folder = make_folder(parent, name)
        handler = open_log(folder)
        run = Run(folder, {"stage": stage, "state": RUNNING, "created": now(), "finished": None, "seconds": None})
        run.record(promised=[], **manifest)
    except OSError as error:
        reason = error.strerror or error
        raise MilrError(f"cannot write a run folder in {parent}: {reason}; name another place with outputs=") from error
    with recorded(run, handler):
        yield run


def open_log(folder: Path) -> logging.FileHandler:
    """The run's log, locked until it is closed: it stays open, and is never replaced, as long as the run goes on.

    Errors: MilrError if another process holds it.
    """
    handler = LogFile(folder / LOG)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    if handler.stream is None or not lock(handler.stream):
        handler.close()
        raise MilrError(f"the run {folder} is going on in another process: wait for it, or stop it first")
    return handler


@contextmanager
def recorded(run: Run, handler: logging.FileHandler) -> Iterator[None]:
    """Keep the log and the manifest's state until the body ends; then the marker, if all that was promised is there."""
    log.addHandler(handler)
    try:
        with disk_errors(run.folder):
            yield
            require_promised(run)
            close(run, FINISHED)
            mark_done(run)
    except KeyboardInterrupt:
        close(run, INTERRUPTED)
        raise
    except MilrError as error:
        close(run, FAILED, str(error))
        raise
    except BaseException as error:
        log.debug("unexpected error", exc_info=True)
        close(run, FAILED, f"{type(error).__name__}: {error}")
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def require_promised(run: Run) -> None:
    """MilrError that names the promised files that are missing or empty."""
    missing = [name for name in run.manifest["promised"] if not is_filled(run.folder / name)]
    if missing:
        raise MilrError(f"the run {run.folder} ended without what it promised: {', '.join(missing)}")


def is_filled(path: Path) -> bool:
    """Whether there is a file with something in it."""
    return path.is_file() and path.stat().st_size > 0


def mark_done(run: Run) -> None:
    """Write the marker, the last file of a run; then the states to resume from are of no use any more."""
    line = f"{run.manifest['stage']} {run.manifest['finished']}\n"
    write_atomically(run.folder / MARKER, lambda file: file.write(line.encode()))
    for state in run.folder.glob(STATE_FILES):
        state.unlink()


def close(run: Run, state: str, error: str | None = None) -> None:
    """Write how the run ended. Of a run that failed it is kept quiet if even that cannot be written."""
    log.debug("%s after %.1f s%s", state, time.monotonic() - run.started, f": {error}" if error else "")
    entries: dict[str, Any] = {"error": error} if error else {}
    seconds = time.monotonic() - run.started
    # The later of two clocks: one may be set back, the other stands still while the machine sleeps.
    finished = max(datetime.now().astimezone(), run.opened + timedelta(seconds=seconds))
    entries |= {"finished": finished.isoformat(timespec="milliseconds"), "seconds": round(seconds, 3)}
    with suppress(*() if state == FINISHED else (OSError,)):
        run.record(state=state, **entries)


def make_folder(parent: Path, name: str) -> Path:
    """Make a folder that did not exist: `name`, else `name-2`, `name-3`, ...; mkdir alone decides, so two runs that
    start at the same moment get two folders."""
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def now() -> str:
    """The local time with its offset, to the millisecond (ISO 8601)."""
    return datetime.now().astimezone().isoformat(timespec="milliseconds")


def moment(text: object) -> datetime | None:
    """A time as `now` writes it; None where it is none."""
    try:
        return datetime.fromisoformat(str(text))
    except ValueError:
        return None


def seconds_of(text: object) -> float:
    """The same in seconds, for sorting; 0 where there is none."""
    time = moment(text)
    return time.timestamp() if time else 0.0


def timestamp() -> str:
    """The name of a run that has no other."""
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def plain(value: Any) -> Any:
    """`value` as strict JSON can hold it: paths as text, tuples as lists, NaN and infinities as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(entry) for entry in (sorted(value) if isinstance(value, (set, frozenset)) else value)]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
