"""Shell completion with the stage in the line.

Hydra's script asks `milr -sc query=bash`, without a stage, and hands over what was typed in COMP_LINE. So the stage is
read there, taken out, and the rest of the line is left to the stage's own Hydra completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from milr.command.help import config_folder, groups_of
from milr.settings.stages import Stage

FLAGS = ("-sc", "--shell-completion")
RUNS_WORDS = ("stage=", "state=", "name=", "outputs=", "--json")


def is_query(arguments: Sequence[str]) -> bool:
    """Whether the shell asks for completions of a line; else it may be for the script."""
    return any(flag in arguments for flag in FLAGS) and any(word.startswith("query=") for word in arguments)


def read_line(environment: Mapping[str, str], stages: Sequence[str]) -> tuple[str | None, str]:
    """The stage in COMP_LINE, and the line without it; (None, the word typed so far) while there is no whole stage.

    A stage counts as whole once a blank follows it.
    """
    line = environment.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    rest = rest.lstrip(" ")
    word, blank, remainder = rest.partition(" ")
    stage = word.replace("_", "-")
    if not blank or stage not in stages:
        return None, rest
    return stage, f"{program} {remainder.lstrip(' ')}"


def command_words(
    environment: Mapping[str, str], stages: Sequence[str], commands: Sequence[str]
) -> tuple[str, list[str]]:
    """The line as `read_line` takes it, and the words that are offered unless it then holds a whole stage.

    `milr check fit-milr milr.al` is completed as `milr fit-milr milr.al`.
    """
    line = environment.get("COMP_LINE", "")
    program, _, rest = line.partition(" ")
    command, blank, typed = rest.lstrip(" ").partition(" ")
    if not blank or command not in commands:
        return line, [name for name in (*stages, *commands) if name.startswith(rest.lstrip(" "))]
    if command == "check":
        return f"{program} {typed}", [name for name in stages if name.startswith(typed.lstrip(" "))]
    last = typed.rpartition(" ")[2]
    named = len(typed.split(" ")) > 1  # show and rerun take one run, then keys
    among = {"runs": RUNS_WORDS, "show": ("--json", "outputs=") if named else tuple(stages)}
    return "", [name for name in among.get(command, ("outputs=",) if named else tuple(stages)) if name.startswith(last)]


def tidy(answer: str, stage: Stage) -> str:
    """Hydra's answer without what the stage does not take: other stages' groups, and the folders behind the scenes."""
    folders = {path.name for path in config_folder().iterdir() if path.is_dir()} - {"hydra"} | {"schema"}
    groups = groups_of(stage.name)
    blank = "\n" if "\n" in answer.strip() else " "  # fish takes lines
    words = []
    for word in answer.strip().split(blank):
        group = word.split("=")[0].split("/")[0]
        if "/" in word.split("=")[0] and group in folders:
            continue
        if group in folders and group not in groups:
            continue
        words.append(f"{word}=" if word in groups else word)
    return blank.join(words)
