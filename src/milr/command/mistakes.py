"""One clear line for an override that Hydra or OmegaConf refuses, with the nearest thing that it would take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from traceback import walk_tb
from typing import Any, get_args, get_origin, get_type_hints

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from milr.command.config_files import config_dirs, faulty_file, problem_of_file, typed_values
from milr.command.help import group_options, groups_of
from milr.data.settings import DATA_SETS
from milr.fields import nearest
from milr.settings.stages import Stage
from milr.text import first_line

TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list [a,b]"}
# What stands in Hydra's groups and is not this project's: the extra that brings it.
EXTRAS = {
    ("hydra/launcher", "joblib"): "joblib",
    ("hydra/launcher", "submitit_slurm"): "slurm",
    ("hydra/launcher", "submitit_local"): "slurm",
    ("hydra/sweeper", "optuna"): "optuna",
}
BUILT_IN = {"hydra/launcher": ("basic", "joblib"), "hydra/sweeper": ("basic", "optuna")}
KEY = re.compile(r"[+~]{0,2}[A-Za-z_][\w./:@$-]*")
INSTEAD = {  # what keys that a stage has not are taken for, where the nearest name is another thing
    "resume": "a stopped run of it is begun again, in a new folder; train-protonet, fit-milr and evaluate go on",
    "evaluate.seeds": "fits with several seeds are named by evaluate.sources, a list of their folders or of a sweep",
}
HINTS = {"source": "give source=latest or source=<run folder>"}


def explain(error: BaseException, stage: Stage, words: Sequence[str]) -> str:
    """The line for `error`, raised while the settings of `stage` were put together from `words` of the command line."""
    if isinstance(error, OverrideParseException):
        return unreadable(error.override)
    file = faulty_file(error, words)
    line = problem(error, stage, [] if file else words, file)
    return f"{file}: {line}" if file and not line.startswith(str(file)) else line


def problem(error: BaseException, stage: Stage, overrides: Sequence[str], file: Path | None) -> str:
    """What is wrong, without the file that it stands in."""
    reasons = [reason for reason in (error.__cause__, error.__context__) if isinstance(reason, OmegaConfBaseException)]
    cause = reasons[0] if reasons and isinstance(error, ConfigCompositionException) else error
    key = str(getattr(cause, "full_key", None) or "")
    if file and (line := problem_of_file(error, cause, file)):
        return line
    if isinstance(error, MissingConfigException):
        return unknown_option(error, first_line(error), overrides)
    if isinstance(cause, MissingMandatoryValue):
        return f"{key} is missing: {HINTS.get(key, f'give {key}=<value>')}"
    if isinstance(cause, (InterpolationKeyError, InterpolationResolutionError)):
        return f"{given_as(key, overrides)}: {first_line(cause)}" if key else first_line(cause)
    if isinstance(cause, ValidationError):
        return wrong_type(cause, stage, overrides)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and key:  # of an unknown section, its name alone
        return unknown_key(below(key, overrides) or key, stage, overrides)
    if not str(cause).strip() and not str(error).strip():
        return f"Hydra cannot use what it was given ({type(error).__name__}): HYDRA_FULL_ERROR=1 shows where"
    return composition(first_line(error if str(error).strip() else cause), stage, overrides)


def unreadable(override: str) -> str:
    """The line for an override that is against Hydra's grammar."""
    key, equals, _ = override.partition("=")
    if not equals:
        return f"cannot read {override!r}: an override is key=value"
    if not KEY.fullmatch(key):
        return f"cannot read {override!r}: {key!r} is no key"
    return f"cannot read {override!r}: text with , = brackets or blanks stands in two pairs of quotes, \"{key}='...'\""


def unknown_key(key: str, stage: Stage, overrides: Sequence[str]) -> str:
    """The line for a key that the stage's schema does not have."""
    if line := section_line(key, stage, overrides):
        return line
    if key.startswith("hydra."):
        return f"Hydra has no key {key!r}: --cfg hydra shows its keys, and a new one is added with a +"
    if key in INSTEAD:
        return f"{stage.cli_name} has no key {key!r}: {INSTEAD[key]}"
    among = [*types_of(stage, overrides), *groups_of(stage.name)]
    same = [other for other in among if other.rpartition(".")[2] == key]  # episodes, of train
    near = same[:1] or get_close_matches(key, among, n=1, cutoff=0.6)
    if key in near:  # in a file, `train.episodes: 5`
        return f"{key} is written in two lines there, {key.replace('.', ': ', 1)} with the second part below the first"
    if not near:  # the right last name in the wrong section: alpha, train.alpha
        near = [other for other in among if other.rpartition(".")[2] == key.rpartition(".")[2]][:1]
    end = f": did you mean {near[0]!r}?" if near else f"; `milr {stage.cli_name} --help` lists the keys"
    return f"{stage.cli_name} has no key {key!r}{end}"


def unknown_option(error: MissingConfigException, message: str, overrides: Sequence[str]) -> str:
    """The line for a file that a group does not have (`backbone/resnet13`)."""
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    if extra := EXTRAS.get((group, option)):
        return f"the {group.partition('/')[2]} {option} is not installed: pip install 'milr[{extra}]'"
    options = options_of(group, overrides) if group else []
    if not options:
        return message
    return f"{group}={option}: choose one of {', '.join(options)}{nearest(option, options)}"


def options_of(group: str, overrides: Sequence[str]) -> list[str]:
    """The options of a group: milr's, Hydra's, and those in the folders of configs that the command line names."""
    files = [path for folder in config_dirs(overrides) for path in (folder / group).glob("*.yaml")]
    own = {path.stem for path in files if path.is_file()}
    return sorted({*group_options(group), *own, *BUILT_IN.get(group, ())})


def wrong_type(error: ValidationError, stage: Stage, overrides: Sequence[str]) -> str:
    """The line for a value of the wrong type."""
    key = str(error.full_key)
    deeper = below(key, overrides)
    if not key and (match := re.search(r"is not a subclass of (\w+)", str(error))):
        sections = {getattr(kind, "__name__", ""): name for name, kind in get_type_hints(stage.settings).items()}
        key = sections.get(match[1], "dataset")  # whose class is one of DATA_SETS
    if line := section_line(key, stage, overrides):
        return line
    if deeper:
        return unknown_key(deeper, stage, overrides)
    expected = expected_type(key, stage, overrides)
    value = given_as(key, overrides)
    return f"{value}: the value must be {expected}" if expected else f"{value}: {first_line(error)}"


def expected_type(key: str, stage: Stage, overrides: Sequence[str]) -> str | None:
    """The type of a key in words; of `train.freeze[0]`, an entry's."""
    kind = types_of(stage, overrides).get(key.partition("[")[0])
    if "[" in key and get_args(kind):
        return f"a list of which each entry is {TYPES.get(get_args(kind)[0].__name__)}"
    return TYPES.get(getattr(get_origin(kind) or kind, "__name__", ""))


def section_line(key: str, stage: Stage, overrides: Sequence[str]) -> str | None:
    """The line for a section that is given as if it were a value; None if the key is no section's."""
    example = next((other for other in types_of(stage, overrides) if other.startswith(f"{key}.")), None)
    return example and f"{key} is a section: set one of its keys, such as {example}=<value>"


def below(key: str, overrides: Sequence[str]) -> str | None:
    """The first key on the command line that lies below this one."""
    return next((typed for typed in typed_values(overrides) if typed.startswith(f"{key}.")), None)


def given_as(key: str, overrides: Sequence[str]) -> str:
    """A key with the value that it was given on the command line, if it was."""
    typed = typed_values(overrides)
    return f"{key}={typed[key]}" if key in typed else key


def composition(message: str, stage: Stage, overrides: Sequence[str]) -> str:
    """The line for what else can go wrong when a config is put together."""
    if match := re.match(r"Could not override '([^']+)'", message):
        return unknown_key(match[1], stage, overrides)
    if match := re.match(r"Could not append to config\. .* '([^']+)'", message):
        return f"{match[1]} is there already: leave the + out"
    if match := re.match(r"Ambiguous value for argument '([^']+)'", message):
        key, _, values = match[1].partition("=")
        is_list = get_origin(types_of(stage, overrides).get(key)) is list
        return f"{match[1]}: several values need --multirun" + f"; one list is written '{key}=[{values}]'" * is_list
    if match := re.match(r"Sweep parameters '([^']+)' requires --multirun", message):
        return f"{match[1]}: a range of values needs --multirun"
    if match := re.match(r"Error merging override ([^=]+)=", message):
        if line := section_line(match[1], stage, overrides):
            return line
        if expected := expected_type(match[1], stage, overrides):
            return f"{given_as(match[1], overrides)}: the value must be {expected}"
    if match := re.match(r"BasicSweeper does not support sweep type : (\w+)_SWEEP", message):
        return f"{match[1].lower()}() needs Optuna's sweeper: pip install 'milr[optuna]', and add hydra/sweeper=optuna"
    if match := re.match(r"provider=.*, path=(.*) is not available", message):
        return f"hydra.searchpath: there is no folder {match[1]}"
    return message


def types_of(stage: Stage, overrides: Sequence[str]) -> dict[str, Any]:
    """Dotted key -> type, of every setting of a stage with the data set that the overrides name, else the default."""
    dataset = typed_values(overrides).get("dataset", "")
    return dict(keyed_types(stage.settings, dataset if dataset in DATA_SETS else "synthetic"))


def keyed_types(settings: type[Any], dataset: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, type) of every leaf of a schema."""
    hints = get_type_hints(settings)
    for field in fields(settings):
        kind = DATA_SETS[dataset].settings if prefix == "" and field.name == "dataset" else hints[field.name]
        if is_dataclass(kind):
            yield from keyed_types(kind, dataset, f"{prefix}{field.name}.")
        else:
            yield f"{prefix}{field.name}", kind


def is_user_error(error: BaseException) -> bool:
    """Whether this error, raised by Hydra around the jobs, is about what the user typed or wrote into a config.

    Hydra raises whatever its helpers do (ValueError, YAML's, RecursionError): it is so unless this package's own code,
    or a launcher's processes, were at work below it.
    """
    if isinstance(error, (HydraException, OmegaConfBaseException, UserWarning)):
        return True
    modules = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame, _ in walk_tb(error.__traceback__)]
    below = modules[modules.index("hydra") :] if "hydra" in modules else ["milr"]
    return isinstance(error, Exception) and not {"milr", "joblib", "submitit"} & set(below)
