"""The words after `milr STAGE`, made ready for Hydra: flags first, and what it would trip over refused in one line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from difflib import get_close_matches

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override
from hydra.errors import OverrideParseException

from milr.command.help import groups_of
from milr.command.mistakes import explain, options_of, types_of
from milr.errors import MilrError
from milr.settings.paths import path_override
from milr.settings.stages import Stage

SHORT = {
    "-c": "--cfg", "-p": "--package", "-r": "--run", "-m": "--multirun", "-i": "--info", "-sc": "--shell-completion",
    "-cd": "--config-dir", "-cn": "--config-name", "-cp": "--config-path",
}  # fmt: skip
SWITCHES = ("--resolve", "--run", "--multirun", "--hydra-help", "--version", "--shell-completion")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
VALUED: dict[str, tuple[str, ...]] = {  # flag -> the values that it takes, where they are few
    "--cfg": ("job", "hydra", "all"),
    "--info": INFO,
    "--package": (),
    "--config-dir": (),
    "--config-name": (),
}
REFUSED = {
    "--config-path": "a stage's configs are milr's own: add a folder of yours with --config-dir",
    "--experimental-rerun": "it takes no run of milr: `milr rerun RUN` repeats one",
}


def hydra_words(stage: Stage, words: Sequence[str]) -> list[str]:
    """The words as Hydra's parser takes them: flags, then overrides with their paths quoted.

    Errors: MilrError for a flag or an override that no stage takes.
    """
    flags, overrides = split_flags(stage, words)
    if "--shell-completion" in flags:
        return [*flags, *overrides]
    if "--hydra-help" in flags:  # it is composed without the stage's keys
        return ["--hydra-help"]
    if not any(flag.startswith("--cfg") for flag in flags) and any(
        flag.startswith(("--resolve", "--package")) for flag in flags
    ):
        raise MilrError("--resolve and --package say how --cfg shows the settings: add --cfg job")
    sweep = "--multirun" in flags or any(word.lower() == "hydra.mode=multirun" for word in overrides)
    overrides = [path_override(word, sweep) for word in overrides]
    try:
        check_overrides(stage, overrides)
    except OverrideParseException as error:
        raise MilrError(explain(error, stage, overrides)) from error
    return [*flags, *overrides]


def split_flags(stage: Stage, words: Sequence[str]) -> tuple[list[str], list[str]]:
    """The flags, a value joined to each that takes one, and the overrides."""
    flags, overrides, rest = [], [], list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = SHORT.get(name, name)
        if not word.startswith("-"):
            overrides.append(word)
        elif name in REFUSED:
            raise MilrError(f"{name}: {REFUSED[name]}")
        elif name in SWITCHES and not equals:
            flags.append(name)
        elif name in VALUED:
            if not equals and rest and (rest[0] in VALUED[name] or (name != "--info" and not rest[0].startswith("-"))):
                value = rest.pop(0)
            flags.append(f"{name}={flag_value(name, value or ('all' if name == '--info' else ''))}")
        elif word != "--":
            raise MilrError(unknown_flag(stage, word))
    return flags, overrides


def flag_value(name: str, value: str) -> str:
    """The value of a flag. MilrError if it is none that the flag takes."""
    if VALUED[name] and value not in VALUED[name]:
        raise MilrError(f"{name} {value}".rstrip() + f": choose one of {', '.join(VALUED[name])}")
    if name == "--config-dir":
        value = os.path.expanduser(value)
        if not os.path.isdir(value):
            raise MilrError(f"--config-dir {value!r}: there is no such folder")
    elif not value:
        raise MilrError(f"{name} needs a value")
    return value


def unknown_flag(stage: Stage, word: str) -> str:
    """The line for a flag that does not exist."""
    name = word.partition("=")[0]
    key = name.lstrip("-").replace("-", "_")
    if key in types_of(stage, []) or key in groups_of(stage.name):
        return f"{stage.cli_name} has no flag {name!r}: a key is given without dashes, {key}=<value>"
    near = get_close_matches(name, [*SWITCHES, *VALUED], n=1, cutoff=0.6)
    end = f"did you mean {near[0]!r}?" if near else f"`milr {stage.cli_name} --hydra-help` lists them"
    return f"{stage.cli_name} has no flag {name!r}: {end}"


def check_overrides(stage: Stage, words: Sequence[str]) -> None:
    """MilrError for the first override that Hydra would take wrongly, or answer with a traceback."""
    parser, swept, types = OverridesParser.create(), dict[str, str](), types_of(stage, words)
    groups = [*groups_of(stage.name), "hydra/launcher", "hydra/sweeper"]
    for word in words:
        (override,) = parser.parse_overrides([word])
        key = override.key_or_group
        if not key:
            raise MilrError(f"cannot read {word!r}: an override is key=value")
        if override.is_delete():
            raise MilrError(f"{word}: a key can be changed, not taken away")
        if key.startswith("hydra.callbacks"):
            raise MilrError(f"{word}: hydra.callbacks is milr's own: leave it out")
        if override.is_add() and key in groups:
            raise MilrError(f"{key} is there already: leave the + out")
        if key in swept:  # the last one wins: every job of the first would be the same
            raise MilrError(f"{key} is given twice, {swept[key]} and {word}: leave one out")
        if override.is_sweep_override():
            swept[key] = word
        values = values_of(override, parser)
        if key in groups:
            check_option(word, key, values, words)
        if types.get(key) is bool and any(type(value) is int and value not in (0, 1) for value in values):
            raise MilrError(f"{word}: the value must be true or false")


def values_of(override: Override, parser: OverridesParser) -> list[object]:
    """The values that an override names: of a choice between several, each."""
    if not override.is_sweep_override():
        return [override.value()]
    if not isinstance(override.value(), ChoiceSweep):  # a range, or a pattern of what is not known yet
        return []
    texts = override.sweep_string_iterator()
    return [parser.parse_override(f"{override.get_key_element()}={text}").value() for text in texts]


def check_option(word: str, group: str, values: Sequence[object], words: Sequence[str]) -> None:
    """MilrError unless the values of a group are words; a section's keys may be given as {key: value}."""
    for value in values:
        if isinstance(value, str) and "${" not in value and value != "???":
            continue
        if isinstance(value, dict) and group in ("dataset", "backbone", "layers"):
            continue
        raise MilrError(f"{word}: choose one of {', '.join(options_of(group, words))}")
