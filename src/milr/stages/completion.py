"""Shell completion with the stage in the line.

Hydra's script asks `milr -sc query=bash`, without a stage, and hands over what was typed in COMP_LINE. So the stage is
read there, taken out, and the rest of the line is left to the stage's own Hydra completion.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FLAGS = ("-sc", "--shell-completion")


def is_completion(arguments: Sequence[str]) -> bool:
    """Whether these arguments are Hydra's shell completion's, a query or an installation."""
    return any(flag in arguments for flag in FLAGS)


def is_query(arguments: Sequence[str]) -> bool:
    """Whether the shell asks for completions of a line."""
    return is_completion(arguments) and any(word.startswith("query=") for word in arguments)


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
