"""The commands about runs, as the command line has them: their words, their helps, and what each hands over to."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from milr.errors import MilrError
from milr.lineage.listing import list_runs
from milr.lineage.rerun import rerun
from milr.lineage.show import show_run
from milr.settings.stages import STAGES, unknown_stage
from milr.settings.values import nearest
from milr.stages.check import check as rehearse

RunStage = Callable[[str, list[str]], int]

FILTERS = ("stage", "state", "name", "outputs")
RUN = "a run folder, a run's name, or a stage for its finished run that ended last (latest: of any stage)"
OUTPUTS = "outputs=FOLDER names another folder of runs than ./outputs"

HELP = {
    "runs": f"""\
The runs under outputs/, those in sweeps too, the oldest first: stage, name, when, state, parent, key figure.

  milr runs stage=fit-milr state=finished name=beta=0.1

name= is a part of the name, or a pattern with *. {OUTPUTS}.
States: finished, failed, interrupted, running; stopped: it says "running" and its process is gone; running?: the same,
but on another machine or before a restart, where that cannot be told; broken: its manifest cannot be read.""",
    "show": f"""\
One run: settings beside the defaults, what it was made from up to the data and whether that is unchanged, result and
files.

  milr show fit-milr
  milr show outputs/fit_milr/2026-01-31_12-00-00

{OUTPUTS}.""",
    "check": """\
Everything a stage needs, tried before hours are spent: settings, source, data, split, device, disk, and one step of the
stage itself on a few pictures, in a folder that is thrown away. Exit code 0, or 2 if there is a problem.

  milr check train-protonet dataset=cub dataset.root=data/CUB_200_2011 backbone=resnet50""",
    "rerun": f"""\
Repeat a run into a new folder with its saved settings, source and seed, and compare. A parent that is gone or no longer
the same is refused; other versions, another commit, machine, number of threads or data are named.

  milr rerun fit-milr

On one machine with one number of threads, a CPU gives the same checkpoint to the bit.
{OUTPUTS}; the new run goes there too, else beside the old one.""",
}


def run_command(command: str, words: Sequence[str], run_stage: RunStage) -> int:
    """Carries out a command about runs and returns the exit code; `run_stage(stage, words)` runs a stage.

    Errors: MilrError for words that the command does not take.
    """
    if any(word in ("-h", "--help") for word in words):
        print(parser_of(command).format_help().rstrip())
        return 0
    if command == "check":
        return check(list(words), run_stage)
    given = parser_of(command).parse_intermixed_args(list(words))
    options = keyed(given.words, FILTERS if command == "runs" else ("outputs",))
    outputs = Path(options.pop("outputs", "outputs")).expanduser()
    if command == "rerun":
        named = any(word.startswith("outputs=") for word in given.words)
        return rerun(outputs if named else None, given.run, run_stage)
    print(listed(options, outputs, given.json) if command == "runs" else shown(given.run, outputs, given.json))
    return 0


def listed(filters: dict[str, str], outputs: Path, as_json: bool) -> str:
    """What `milr runs` prints."""
    return list_runs(outputs, filters, as_json)


def shown(run: str, outputs: Path, as_json: bool) -> str:
    """What `milr show` prints."""
    return show_run(outputs, run, as_json)


def check(words: list[str], run_stage: RunStage) -> int:
    """`milr check`, for a stage that makes a run, without a sweep."""
    if not words:
        raise MilrError(f"name the stage: one of {', '.join(name for name in STAGES if name != 'data')}")
    stage, *words = words
    spoken = stage.replace("_", "-")
    if spoken not in STAGES:
        raise MilrError(unknown_stage(stage))
    if spoken == "data":
        raise MilrError("`milr data` is a check itself: it opens every picture")
    if any(word in ("-m", "--multirun") for word in words):
        raise MilrError("milr check checks one job: leave --multirun out, and give one value of each key")
    return rehearse(spoken, words, run_stage)


class Parser(ArgumentParser):
    """argparse that says what is wrong as milr does, in one line."""

    def error(self, message: str) -> NoReturn:
        raise MilrError(f"{message}; `{self.prog} --help` says more")


def parser_of(command: str) -> Parser:
    """The words that a command takes."""
    parser = Parser(
        prog=f"milr {command}",
        description=HELP[command],
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    if command == "check":
        parser.add_argument("stage", help="train-protonet, fit-milr, ...")
        parser.add_argument("words", nargs="*", metavar="key=value", help="as for the stage")
        return parser
    if command in ("show", "rerun"):
        parser.add_argument("run", help=RUN)
    parser.add_argument(
        "words", nargs="*", metavar="key=value", help=f"{'=, '.join(FILTERS if command == 'runs' else ['outputs'])}="
    )
    if command != "rerun":
        parser.add_argument("--json", action="store_true", help="the same as JSON")
    return parser


def keyed(words: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """key=value words as a mapping. MilrError for another word or key."""
    found = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or key not in keys:
            raise MilrError(
                f"cannot take {word!r}: give {', '.join(f'{name}=' for name in keys)}{nearest(key, tuple(keys))}"
            )
        found[key] = value
    return found
