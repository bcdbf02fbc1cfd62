"""The commands about runs, as the command line has them: their words, their helps, and what each hands over to."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import NoReturn

from milr.errors import MilrError
from milr.fields import load, nearest
from milr.figures.settings import SheetSettings
from milr.settings.stages import COMMANDS, STAGES, Stage, stage_named

FILTERS = ("stage", "state", "name", "outputs")
RUN = "a run folder, a run's name, or a stage for its finished run that ended last (latest: of any stage)"
OUTPUTS = "outputs=FOLDER names another folder of runs than ./outputs"

HELP = {
    "runs": f"""\
The runs under outputs/, those in sweeps too, the oldest first: stage, name, when, state, parent, key figure.

  milr runs stage=fit-milr state=finished name=beta=0.1

name= is a part of the name, or a pattern with *. {OUTPUTS}.
States: finished, failed, interrupted, running; stopped: it says "running" and no process holds its log (seen
from another machine, only where the disk they share knows locks); broken: its manifest cannot be read.""",
    "show": f"""\
One run: settings beside the defaults, what it was made from up to the data and whether that is unchanged, result and
files.

  milr show fit-milr
  milr show outputs/fit_milr/2026-01-31_12-00-00

{OUTPUTS}.""",
    "sweep-report": """\
A sweep of fit-milr as a table, a grid of alpha and beta, and a contact sheet of one picture's maps; written into
FOLDER/report.""",
    "report": f"""\
One HTML file about a run, several or a sweep, with everything in it: the maps with their bits under the mouse, what the
maps are worth, how they came about. It opens in any browser, without a network, and can be sent on.

  milr report latest
  milr report <fit> <another fit>
  milr report outputs/fit_milr_sweeps/<sweep>

A run is one of fit-milr, which was drawn by visualize, or one that goes on from it; the newest evaluate and sanity runs
of the fit, and the newest calibrate run, are included. Of a sweep the maps of one episode are computed.
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


def run_command(command: str, words: Sequence[str]) -> int:
    """Carry out a command about runs and return the exit code. Errors: MilrError for words that it does not take."""
    if any(word in ("-h", "--help") for word in words):
        print(parser_of(command).format_help().rstrip())
        return 0
    if command == "check":
        options = Namespace(stage=stage_to_check(words), words=list(words[1:]))
    else:
        options = parser_of(command).parse_intermixed_args(list(words))
        if command == "report":  # a run's name may hold "=" itself
            options.words = [word for word in options.runs if word.startswith("outputs=")]
            options.runs = [word for word in options.runs if word not in options.words]
        if "words" in options:
            options.filters = keyed(options.words, FILTERS if command == "runs" else ("outputs",))
            outputs = options.filters.pop("outputs", None)
            options.named, options.outputs = outputs is not None, Path(outputs or "outputs").expanduser()
    code: int = load(COMMANDS[command].work)(options)
    return code


def stage_to_check(words: Sequence[str]) -> Stage:
    """The stage that the first word names: one that makes a run, without a sweep."""
    if not words:
        names = (stage.cli_name for stage in STAGES.values() if stage.makes_run)
        raise MilrError(f"name the stage: one of {', '.join(names)}")
    stage = stage_named(words[0])
    if not stage.makes_run:
        raise MilrError("`milr data` is a check itself: it opens every picture")
    if any(word in ("-m", "--multirun") for word in words):
        raise MilrError("milr check checks one job: leave --multirun out, and give one value of each key")
    return stage


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
    if command == "sweep-report":
        parser.add_argument("folder", help="the sweep's folder, such as outputs/fit_milr_sweeps/<sweep>")
        parser.add_argument("--episode", type=int, default=0, help="number of the seeded episode on the sheet: 0")
        parser.add_argument("--query", type=int, default=0, help="number of its query, one a class, from 0: 0")
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if any")
        for each in fields(SheetSettings):
            choices, meaning = each.metadata["choices"], each.metadata["meaning"]
            parser.add_argument(f"--{each.name}", choices=choices, default=each.default, help=meaning)
        return parser
    if command == "report":
        parser.add_argument("runs", nargs="+", metavar="run", help=f"{RUN}; several; or a sweep's folder")
        parser.add_argument("--to", metavar="FILE", help="the file to write: reports/<run>.html where the run lies")
        parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="for a sweep's maps")
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
    result = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or key not in keys:
            raise MilrError(
                f"cannot take {word!r}: give {', '.join(f'{name}=' for name in keys)}{nearest(key, tuple(keys))}"
            )
        result[key] = value
    return result
