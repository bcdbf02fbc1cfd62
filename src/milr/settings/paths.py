"""Paths on the command line: taken as they stand, whatever characters they hold.

Hydra's grammar reads `,` as a sweep, `=`, brackets and blanks as its own, and `1e3` as a number. So the value of a key
that is a path is quoted for it, unless it is one of Hydra's own forms: in quotes already, `${...}`, a function, null.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from hydra.core.override_parser.types import Quote, QuotedString

from milr.backbones.settings import NO_FILE
from milr.errors import MilrError

PATHS = (
    "dataset.root", "backbone.weights", "outputs", "cache", "source", "resume", "hydra.sweep.dir", "hydra.run.dir",
    "data.address",
)  # fmt: skip
LISTS = ("images",)
MAY_BE_EMPTY = ("cache", "resume")
WORDS = (*NO_FILE, "latest")  # what stands in a path's place
PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)[a-z_./][a-z0-9_./-]*", re.IGNORECASE)  # as Hydra reads it too
HYDRA_FORMS = re.compile(  # Hydra's own forms
    r"null|\?\?\?|.*\$\{.*|'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\""
    r"|(?:choice|range|interval|glob|sort|shuffle|tag|str|int|float|bool|json_str)\(.*\)",
    re.DOTALL,
)
PIECE = re.compile(r"(?:'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|[^,])+")  # what stands between two commas


def path_override(word: str, sweep: bool) -> str:
    """An override, with the value quoted where its key is a path.

    sweep: whether several jobs are wanted: `a,b` is then two paths, unless there is one of that name.
    Errors: MilrError where no path is given.
    """
    name, equals, value = word.partition("=")
    key = name.lstrip("+")
    if not equals or key not in (*PATHS, *LISTS):
        return word
    if key in LISTS:
        whole = value.startswith("[") and value.endswith("]") and not (sweep and "],[" in value)
        return f"{name}=[{','.join(each_of(value[1:-1], joined=True))}]" if whole else word
    if not value.strip() and key not in MAY_BE_EMPTY:
        raise MilrError(f"{key}= is empty: give {key}=<path>")
    if os.path.exists(value):
        return f"{name}={hydra_text(value)}"
    if HYDRA_FORMS.fullmatch(value) or not value.strip():
        return word
    parts = [part.strip() for part in PIECE.findall(value)]
    several = sweep or any(part in WORDS or os.path.exists(part) for part in parts)
    if "," in value and several:
        return f"{name}={','.join(each_of(value))}" if sweep else word
    return f"{name}={hydra_text(value.strip())}"


def each_of(text: str, joined: bool = False) -> list[str]:
    """The paths between commas, each quoted; joined: pieces are put together again where there is a file so named."""
    pieces, result = PIECE.findall(text), []
    while pieces:
        ends = range(len(pieces), 1, -1) if joined else ()
        end = next((end for end in ends if os.path.exists(",".join(pieces[:end]).strip())), 1)
        piece = ",".join(pieces[:end]).strip()
        result.append(piece if HYDRA_FORMS.fullmatch(piece) and not os.path.exists(piece) else hydra_text(piece))
        pieces = pieces[end:]
    return result


def hydra_text(path: str) -> str:
    """A path as Hydra reads it back to the letter; `~` at its beginning is the home folder."""
    path = home(path)
    return path if PLAIN.fullmatch(path) else quoted(path)


def home(path: str) -> str:
    """A path with `~` replaced by the home folder; where there is no such user, `~x` is a name in this folder."""
    if not path.startswith("~"):
        return path
    expanded = os.path.expanduser(path)
    return expanded if expanded != path else f"./{path}"


def quoted(text: str) -> str:
    """Text as a value of Hydra's overrides, whatever characters a path has."""
    return QuotedString(text=text, quote=Quote.single).with_quotes()


def here(path: str) -> str:
    """A path, made absolute from the folder in which the command was typed."""
    return str(Path(home(path)).absolute())
