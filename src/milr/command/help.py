"""A stage's help: its config files with their comments, as text. Quick, because nothing is composed or imported."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from milr.errors import MilrError

FLAGS = """\
paths (outputs=, source=, resume=, cache=, dataset.root=, backbone.weights=, images=[...]):
  taken to the letter, from the folder in which the command is typed, in one pair of quotes for the shell where it needs
  them: 'dataset.root=data/my birds (1), old'. ~ at the beginning is the home folder. With --multirun a,b are two
  paths, unless there is one of that name. Of a key given twice, the last value counts.

your own configs:
  --config-dir FOLDER       FOLDER/experiment/NAME.yaml, beginning with "# @package _global_", is experiment=NAME

flags:
  --multirun, -m            one run for each combination of comma-separated values: milr.beta=0.01,0.1,1
  hydra/launcher=slurm      where these runs happen: joblib, slurm or local (docs/scaling.md); here, one by one, without
  --cfg job                 show the settings as they would be, and run nothing
  --hydra-help              Hydra's own flags
  -sc install=bash          shell completion: eval "$(milr {stage} -sc install=bash)" """


def config_folder() -> Path:
    """The folder of the package `milr.conf`. Errors: MilrError if it is not installed."""
    spec = find_spec("milr.conf")
    if spec is None or not spec.submodule_search_locations:
        raise MilrError(
            "the package milr.conf is not installed: install milr with `pip install .` or `pip install -e .`"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def groups_of(stage: str) -> dict[str, str]:
    """The config groups of a stage and the option that each has by default."""
    path = config_folder() / f"{stage}.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^ +- (\w+): (\w+)", text, flags=re.MULTILINE))


def group_options(group: str) -> list[str]:
    """The options of a config group; none if there is no such group."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml")) if group else []


def stage_help(stage: str, overrides: Sequence[str]) -> str:
    """Everything that `milr <stage>` can be told, with the group options that `overrides` choose."""
    spoken = stage.replace("_", "-")
    head, keys = split_config((config_folder() / f"{stage}.yaml").read_text(encoding="utf-8"))
    chosen = groups_of(stage)
    for override in overrides:
        group, _, option = override.partition("=")
        if group in chosen and option in group_options(group):
            chosen[group] = option
    lines = [head, "", f"usage: milr {spoken} [key=value | group=option] ... [flags]", "", "groups:"]
    lines += [f"  {f'{group}={option}':<24}  of: {', '.join(group_options(group))}" for group, option in chosen.items()]
    lines += ["", "keys:", *indented(keys)]
    for group, option in chosen.items():
        _, values = split_config((config_folder() / group / f"{option}.yaml").read_text(encoding="utf-8"))
        if values.strip() and group != "experiment":
            lines += [f"  {group}:  # with {group}={option}", *indented(values, "    ")]
    return "\n".join([*lines, "", FLAGS.format(stage=spoken).rstrip()])


def split_config(text: str) -> tuple[str, str]:
    """The comment at the head of a config, and its keys without those that are Hydra's (`defaults`, `hydra`)."""
    lines = text.splitlines()
    head = [line[1:].strip() for line in lines if line.startswith("# ") and not line.startswith("# @")]
    keys, hidden = [], False
    for line in lines:
        if re.match(r"\w", line):
            hidden = line.startswith(("defaults:", "hydra:"))
        if not hidden and not line.startswith("#"):
            keys.append(line)
    return (head[0] if head else ""), "\n".join(keys).strip("\n")


def indented(text: str, by: str = "  ") -> list[str]:
    """The lines of `text`, each moved to the right."""
    return [by + line if line else line for line in text.splitlines()]
