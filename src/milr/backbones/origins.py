"""Where a network comes from, and what a source of networks must offer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError

SIDE = 224  # pixels, where nobody says otherwise


@dataclass(frozen=True)
class Origin:
    """Where a network comes from, all that it takes to build it again without one's network, and its pictures."""

    name: str
    source: str
    size: int  # S, pixels
    normalisation: Normalisation = IMAGENET
    head: str = "drop"
    config: str = ""  # of transformers: its configuration, JSON


@dataclass(frozen=True)
class Source:
    """A row of the table. Errors of its functions: MilrError for a name that there is not, or a package."""

    pictures: Callable[[str], tuple[int, Normalisation]]  # name -> the side and the statistics it was trained with
    build: Callable[[Origin], nn.Module]  # with random weights
    pretrained: Callable[[Origin], Mapping[str, Tensor]]  # the source's own weights
    adapt: Callable[[Origin, nn.Module, Any], Any] = lambda origin, network, content: content  # to another size
    heads: Callable[[Origin, nn.Module], tuple[str, ...]] = (
        lambda origin, network: ()
    )  # modules whose weights a file may have too many
    config: Callable[[str], str] = lambda name: ""  # name -> Origin.config


def no_such(source: str, name: str, names: Iterable[str]) -> MilrError:
    """The error for a name that a source does not have, with the nearest ones."""
    near = get_close_matches(name, list(names), n=3, cutoff=0.4)
    end = f": did you mean {' or '.join(near)}?" if near else ""
    return MilrError(f"backbone.name={name}: {source} has no such network{end}")


def package_of(source: str) -> Any:
    """The package of a source. MilrError that names the extra where it is not installed."""
    try:
        return import_module(source)
    except ImportError as error:
        raise MilrError(f"backbone={source} needs a package: pip install 'milr[{source}]'") from error
