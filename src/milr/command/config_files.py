"""Faults in the user's own config files: which file, which line, which key."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from traceback import walk_tb

from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigAttributeError, ConfigKeyError
from yaml import MarkedYAMLError  # type: ignore[import-untyped]

from milr.command.help import config_folder
from milr.fields import leaves

NOWHERE = "\0"  # stands in no text


def typed_values(words: Sequence[str]) -> dict[str, str]:
    """key -> value of the overrides among words of the command line: of a key given twice, the last."""
    parts = (word.lstrip("+~").partition("=") for word in words)
    return {key: value for key, equals, value in parts if equals}


def config_dirs(words: Sequence[str]) -> list[Path]:
    """The folders of configs that the command line names."""
    given = [(word.partition("=")[2] or next_word) for word, next_word in zip(words, [*words[1:], ""], strict=False)
             if word.partition("=")[0] in ("--config-dir", "-cd")]  # fmt: skip
    listed = typed_values(words).get("hydra.searchpath")
    given += [entry.strip(" []'\"").removeprefix("file://") for entry in listed.split(",")] if listed else []
    return [Path(folder).expanduser() for folder in given]


def faulty_file(error: BaseException, words: Sequence[str]) -> Path | None:
    """The user's config file in which Hydra found the fault; None if it is on the command line."""
    for name in config_names(error):
        for folder in config_dirs(words):
            path = Path(name) if Path(name).is_absolute() else folder / name
            path = path if path.suffix == ".yaml" else Path(f"{path}.yaml")
            if path.is_file() and config_folder() not in path.parents:
                return path
    return next((path for path in chosen_files(words) if suspect(error, words) in path.read_text("utf-8")), None)


def chosen_files(words: Sequence[str]) -> list[Path]:
    """The user's own files among the options that the command line chooses; folders and pipes are none."""
    chosen = typed_values(words).items()
    files = [(folder, path) for folder in config_dirs(words) for path in folder.rglob("*.yaml") if path.is_file()]
    return [path for folder, path in files if (path.relative_to(folder).parts[0], path.stem) in chosen]


def suspect(error: BaseException, words: Sequence[str]) -> str:
    """The word that shows a fault of a defaults list to be a chosen file's own; in no file if it was typed."""
    word = NOWHERE
    if isinstance(error, MissingConfigException):
        word = (error.missing_cfg_file or "").rpartition("/")[2]
    elif match := re.match(r"Multiple values for (\S+)\.", str(error)):
        word = match[1]
    elif isinstance(error, RecursionError):
        return "defaults:"
    return NOWHERE if any(word in typed for typed in words) else word


def named_file(line: str, hydra: DictConfig, typed: Sequence[str]) -> str:
    """A line about a value (`key=value: ...`), with the user's own config file in front that the value stands in."""
    match = re.match(r"([a-z_.]+)[=:]", line)
    if not match or match[1] in typed_values(typed):
        return line
    folders = [str(source.path) for source in hydra.runtime.config_sources if source.schema == "file"]
    for group, option in hydra.runtime.choices.items():
        for folder in folders:
            path = Path(folder, str(group), f"{option}.yaml")
            if path.is_file() and match[1].removeprefix(f"{group}.") in dict(
                leaves(OmegaConf.to_container(OmegaConf.load(path)))
            ):
                return f"{path}: {line}"
    return line


def config_names(error: BaseException) -> Iterator[str]:
    """The configs that an error of Hydra's is about, the likeliest first: from its message, else from what was read."""
    yield from re.findall(r"[Ii]n '([^']+)'", str(error))
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        if str(frame.f_globals.get("__name__")).startswith("hydra."):
            for variable in ("full_path", "config_path", "parent"):
                value = frame.f_locals.get(variable)
                value = value if isinstance(value, str) else getattr(frame.f_locals.get("default"), variable, None)
                if isinstance(value, str):
                    yield value


def problem_of_file(error: BaseException, cause: BaseException, file: Path) -> str | None:
    """What is wrong with a file as such: its text, its YAML, its first line, its defaults list."""
    if isinstance(error, UnicodeDecodeError):
        return f"{file} is no text in UTF-8"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark
        hint = "; indent with blanks, not with tabs" if "\\t" in str(error.problem) else ""
        return f"{file}, line {mark.line + 1 if mark else '?'}: {error.problem.removeprefix('but ')}{hint}"
    if isinstance(error, RecursionError):
        return "its defaults list comes back to itself, or an alias (*) stands within what it means"
    text = file.read_text(encoding="utf-8", errors="replace")
    unknown = isinstance(cause, (ConfigKeyError, ConfigAttributeError))
    if unknown and "experiment" in file.parts and not re.match(r"# *@package +_global_", text):
        return "a file of experiment/ begins with the line `# @package _global_`, or its keys are not the stage's"
    if match := re.match(r"Multiple values for (\S+)\.", str(error)):
        return f"its defaults list names a second {match[1]}: write `override /{match[1]}: <option>`"
    return None
