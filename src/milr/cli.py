"""The command `milr STAGE [overrides]`: takes the stage off the line and hands the rest to that stage's Hydra.

Nothing heavy is imported before a stage runs: neither Hydra for the lists and helps, nor torch for the settings.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from warnings import catch_warnings, filterwarnings

from milr import __version__
from milr.errors import MENDABLE, MilrError
from milr.settings.stages import COMMANDS, STAGES, unknown_stage
from milr.streams import lossy_streams

INTERRUPTED = 130  # an exit code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (of the process, if none is given) and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    with lossy_streams() as (output, _):
        try:
            code = dispatch(words)
        except MilrError as error:
            code = fail(str(error))
        except OSError as error:
            mendable = disk_line(error)
            if mendable is None:
                raise
            code = fail(mendable)
        output.flush()
        if output.complaint:
            line = f"standard output: {output.complaint}; what was to be shown there is lost"
            if not is_job(words):
                return code or fail(line)
            print(f"warning: {line}", file=sys.stderr)  # the run itself, and its folder, are as they should be
        return code


def is_job(words: Sequence[str]) -> bool:
    """Whether these words make a run: what is printed then is beside the point, else it is all that is asked."""
    flags = {word for word in words[1:] if word.startswith("-")}
    stage = words[0].replace("_", "-") if words else "data"
    return stage in STAGES and stage != "data" and flags <= {"-m", "--multirun"}


def disk_line(error: OSError) -> str | None:
    """The line for a file or folder that may not be read, and the like; None for another error."""
    from milr.runs.disk import disk_error, spoken

    cause = None if os.environ.get("HYDRA_FULL_ERROR") == "1" else disk_error(error)
    return None if cause is None else spoken(cause)


def require_working_folder() -> None:
    """MilrError where the shell stands in a folder that is gone, from which no relative path leads anywhere."""
    try:
        os.stat(os.getcwd())
    except OSError as error:
        raise MilrError(
            f"the working folder cannot be read ({error.strerror}): go to one that is there (cd)"
        ) from error


def dispatch(words: list[str]) -> int:
    """Answer what needs no stage; else hand over to the stage."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"milr {__version__}")
        return 0
    help_wanted = any(word in ("-h", "--help") for word in words[1:])
    if not help_wanted:
        require_working_folder()
    if words[0] in ("-sc", "--shell-completion"):
        return complete(words)
    if words[0] == "sweep-report":
        from milr.lineage.sweep_report import main as sweep_report

        return sweep_report(words[1:])
    if words[0] in COMMANDS:
        from milr.lineage.commands import run_command

        return run_command(words[0], words[1:], run_stage)
    stage = words[0].replace("_", "-")
    if stage not in STAGES:
        return fail(unknown_stage(words[0]))
    if help_wanted:
        from milr.command.help import stage_help

        print(stage_help(stage.replace("-", "_"), words[1:]))
        return 0
    from milr.runs.processes import check_processes

    check_processes(stage, words[1:])
    return run_stage(stage, words[1:])


def run_stage(stage: str, words: list[str]) -> int:
    """Let the stage's own Hydra read `words`, and tell what it refuses in one line."""
    from concurrent.futures import BrokenExecutor

    from milr.command.mistakes import explain, is_mendable
    from milr.command.words import hydra_words
    from milr.stages.report import traceback_wanted

    name = stage.replace("-", "_")
    with hydra_environment(hydra_words(name, words)), catch_warnings():
        filterwarnings("error", message="provider=.* is not available")  # a folder of configs that is not there
        try:
            import_stage(name)()
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return INTERRUPTED
        except SystemExit as leaving:
            return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
        except OSError as error:
            if traceback_wanted():
                raise
            if is_mendable(error) and error.errno is None:  # Hydra's own that are OSErrors too
                return fail(explain(error, name, words))
            return fail(f"{error.filename or 'file'}: {error.strerror or error}")  # a sweep's folder: Hydra makes it
        except BrokenExecutor:  # joblib then stops the sweep's other processes too
            if traceback_wanted():
                raise
            return fail("a process of the sweep was killed, for want of memory or by hand: the same command goes on")
        except Exception as error:
            if traceback_wanted() or not is_mendable(error):
                raise
            return fail(explain(error, name, words))
    return 0


def import_stage(name: str) -> Callable[[], None]:
    """The Hydra entry point of one stage's module."""
    from importlib import import_module

    entry: Callable[[], None] = import_module(f"milr.stages.{name}").main
    return entry


@contextmanager
def hydra_environment(words: list[str], **variables: str) -> Iterator[None]:
    """The process as Hydra shall see it, put back afterwards: argv without the stage, and errors raised, not printed.

    A user who set HYDRA_FULL_ERROR=1 wants tracebacks; MILR_TRACEBACK keeps that wish.
    """
    if os.environ.get("HYDRA_FULL_ERROR") == "1":
        variables["MILR_TRACEBACK"] = "1"
    variables["HYDRA_FULL_ERROR"] = "1"
    program = "milr" if sys.argv[0].endswith(".py") else sys.argv[0]  # Hydra would complete `python`
    argv, before = sys.argv, {name: os.environ.get(name) for name in variables}
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level  # --info adds one of its own
    sys.argv = [program, *words]
    os.environ.update(variables)
    try:
        yield
    finally:
        sys.argv, root.handlers[:] = argv, handlers
        root.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def complete(words: list[str]) -> int:
    """Answer the shell's completion: the stages, or what the stage in COMP_LINE takes."""
    from milr.command.completion import command_words, is_query, read_line, tidy

    if not is_query(words):
        return run_stage("data", words)  # any stage's Hydra prints the script for `milr`
    line, offered = command_words(os.environ, list(STAGES), list(COMMANDS))
    stage, line = read_line({"COMP_LINE": line}, list(STAGES))
    if stage is None:
        print(" ".join(offered))
        return 0
    name, answer = stage.replace("-", "_"), StringIO()
    with hydra_environment(words, COMP_LINE=line), redirect_stdout(answer), suppress(Exception, SystemExit):
        import_stage(name)()  # what goes wrong is kept from the shell
    print(tidy(answer.getvalue(), name))
    return 0


def overview() -> str:
    """What `milr` alone says: the stages and the commands about runs, one line each."""
    width = max(map(len, STAGES))
    stages, commands = ([f"  {name:<{width}}  {what}" for name, what in each.items()] for each in (STAGES, COMMANDS))
    lines = [f"milr {__version__}: explain a few-shot network's representation by mutual information", ""]
    lines += ["usage: milr STAGE [key=value | group=option] ...", "", "stages:", *stages, ""]
    lines += ["about runs:", *commands, ""]
    return "\n".join([*lines, "`milr STAGE --help` lists what a stage (or a command) can be told."])


def fail(line: str) -> int:
    """Say in one line what the user can mend."""
    print(f"error: {line}", file=sys.stderr)
    return MENDABLE
