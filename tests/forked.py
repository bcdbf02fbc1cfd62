"""Work in a process of its own that need not load torch, which takes seconds: it is forked from one that has it."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from warnings import catch_warnings, simplefilter

import torch

from milr import cli

# A process that has computed with CUDA in reach has threads that its forks would lack: there a server forks, which has
# only imported. Else the test's own process does, and what a test pretends is pretended in the fork too.
FORKS = sys.platform == "linux" and not torch.cuda.is_available()
CONTEXT = multiprocessing.get_context("fork" if FORKS else "forkserver")
NEEDED = ("torch._dynamo", "torchvision", "milr.stages.train_protonet", "milr.stages.fit_milr", "milr.stages.evaluate")
if not FORKS:
    CONTEXT.set_forkserver_preload([*NEEDED, "forked"])

STREAMS = (("stdin", "r"), ("stdout", "a"), ("stderr", "a"))


def load() -> None:
    """Import what stages need, once for all the processes that are begun from here on."""
    for name in NEEDED if FORKS else ():
        importlib.import_module(name)


def begin(target: Callable[..., object], *given: object) -> BaseProcess:
    """Begin target(*given) in a process of its own; `join` waits for it."""
    process = CONTEXT.Process(target=target, args=given)
    with catch_warnings():
        simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later: xdist has threads, which a fork lacks
        process.start()
    return process


def start(
    words: Sequence[str],
    streams: Sequence[str | Path | None] = (os.devnull, os.devnull, os.devnull),
    folder: Path | None = None,
) -> BaseProcess:
    """Begin `milr words` in `folder` with files for stdin, stdout and stderr (None: it is closed)."""
    load()
    return begin(child, words, streams, folder)


def finish(process: BaseProcess, seconds: float = 300) -> int | None:
    """Wait for the end of the process and return its exit code; one that does not end is killed."""
    process.join(seconds)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode


def child(words: Sequence[str], streams: Sequence[str | Path | None], folder: Path | None) -> None:
    """What the process of `start` does: it takes the place of this one's streams and folder."""
    torch.set_num_threads(1)
    if folder:
        os.chdir(folder)
    for number, ((name, mode), where) in enumerate(zip(STREAMS, streams, strict=True)):
        os.close(number)
        if where is None:  # as Python starts where it is closed
            setattr(sys, name, None)
            continue
        file = os.open(where, os.O_RDONLY if mode == "r" else os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        if file != number:
            os.dup2(file, number)
            os.close(file)
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
        stream.reconfigure(line_buffering=name == "stderr")  # as Python has it, which then has nothing left at the end
        setattr(sys, name, stream)
    sys.exit(cli.main(words))
