"""The command `milr STAGE [overrides]`: takes the stage off the line and hands the rest to that stage's Hydra.

Nothing heavy is imported before a stage runs: neither Hydra for the lists and helps, nor torch for the settings.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO

from milr import __version__
from milr.command.completion import command_words, is_query, read_line, tidy
from milr.command.help import stage_help
from milr.errors import USER_ERROR, MilrError
from milr.runs.disk import disk_error, disk_message
from milr.runs.processes import check_processes
from milr.settings.stages import COMMANDS, STAGES, Stage, stage_named
from milr.streams import lossy_streams
from milr.text import aligned, one_line

INTERRUPTED = 130  # an exit code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line (of the process, if none is given) and return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    os.environ["MPLBACKEND"] = "agg"  # figures go into files; matplotlib cannot be imported with a name that is none
    with lossy_streams() as (output, _):
        try:
            code = dispatch(words)
        except MilrError as error:
            code = fail(str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            code = INTERRUPTED
        except OSError as error:
            cause = disk_error(error)
            if cause is None or os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            code = fail(disk_message(cause))
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
    stage = STAGES.get(words[0].replace("-", "_")) if words else None
    return stage is not None and stage.makes_run and flags <= {"-m", "--multirun"}


def require_working_folder() -> None:
    """MilrError where the shell stands in a folder that is gone, from which no relative path leads anywhere."""
    try:
        os.stat(os.getcwd())
    except OSError as error:
        raise MilrError(
            f"the working folder cannot be read ({error.strerror}): go to one that is there (cd)"
        ) from error


def dispatch(words: list[str]) -> int:
    """Answer what needs no stage; else hand over to the stage or the command."""
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
    if words[0] in COMMANDS:
        from milr.lineage.commands import run_command  # argparse

        return run_command(words[0], words[1:])
    stage = stage_named(words[0])
    if help_wanted:
        print(stage_help(stage, words[1:]))
        return 0
    check_processes(stage, words[1:])
    return run(stage, words[1:])


def run(stage: Stage, words: list[str]) -> int:
    """The stage, with Hydra, which is imported here: the lists and helps need not wait for it."""
    from milr.command.entry import run_stage
    from milr.sweeps.folders import release_all

    try:
        return run_stage(stage, words)
    finally:
        release_all()


def complete(words: list[str]) -> int:
    """Answer the shell's completion: the stages, or what the stage in COMP_LINE takes."""
    from milr.command.entry import hydra_environment, hydra_main

    if not is_query(words):
        return run(STAGES["data"], words)  # any stage's Hydra prints the script for `milr`
    names = {stage.cli_name: stage for stage in STAGES.values()}
    line, offered = command_words(os.environ, list(names), list(COMMANDS))
    name, line = read_line({"COMP_LINE": line}, list(names))
    if name is None:
        print(" ".join(offered))
        return 0
    answer = StringIO()
    with hydra_environment(words, COMP_LINE=line), redirect_stdout(answer), suppress(Exception, SystemExit):
        hydra_main(names[name])()  # what goes wrong is not shown to the shell
    print(tidy(answer.getvalue(), names[name]))
    return 0


def fail(line: str) -> int:
    """Print an error in one line; its exit code."""
    print(f"error: {one_line(line)}", file=sys.stderr)
    return USER_ERROR


def overview() -> str:
    """What `milr` alone says: the stages and the commands about runs, one line each."""
    rows = [(f"  {stage.cli_name}", stage.help) for stage in STAGES.values()]
    table = aligned([*rows, *((f"  {name}", command.help) for name, command in COMMANDS.items())])
    lines = [f"milr {__version__}: explain a few-shot network's representation by mutual information", ""]
    lines += ["usage: milr STAGE [key=value | group=option] ...", "", "stages:", *table[: len(rows)], ""]
    lines += ["about runs:", *table[len(rows) :], ""]
    return "\n".join([*lines, "`milr STAGE --help` lists what a stage (or a command) takes."])
