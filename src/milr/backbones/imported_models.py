"""A network that a function of the user's own gives: package.module:function."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from importlib import import_module
from inspect import signature
from pathlib import Path
from traceback import extract_tb
from typing import Any

from torch import Tensor, nn

from milr.backbones.origins import SIDE, Origin
from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError
from milr.text import first_line


def imported(name: str) -> Callable[[], Any]:
    """The function that "package.module:function" names, of a package that is installed or lies in this folder."""
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise MilrError(f"backbone.name={name}: backbone=import takes package.module:function")
    try:
        with this_folder():
            made = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise MilrError(f"backbone.name={name} cannot be imported: {first_line(error)}") from error
    except Exception as error:  # whatever the module does when it is read
        what = f"{type(error).__name__}: {first_line(error)}{line_of(error)}"
        raise MilrError(f"backbone.name={name} cannot be imported: {what}") from error
    try:
        signature(made).bind()
    except ValueError:  # built in, without a signature
        return made
    except TypeError as error:  # no function, or one that wants arguments
        what = f"is no function that gives a network when it is called without arguments ({first_line(error)})"
        raise MilrError(f"backbone.name={name} {what}") from error
    return made


def line_of(error: Exception) -> str:
    """Where in a file it was raised: " (my_networks.py, line 3)"; a SyntaxError says so itself."""
    if isinstance(error, SyntaxError) or error.__traceback__ is None:
        return ""
    last = extract_tb(error.__traceback__)[-1]
    return f" ({Path(last.filename).name}, line {last.lineno})"


@contextmanager
def this_folder() -> Any:
    """Modules of the folder in which the command is typed are found too, after all others."""
    sys.path.append(".")
    try:
        yield
    finally:
        sys.path.remove(".")


def imported_pictures(name: str) -> tuple[int, Normalisation]:
    """What most networks take: the function says nothing of it."""
    imported(name)
    return SIDE, IMAGENET


def imported_network(origin: Origin) -> nn.Module:
    """What the function gives."""
    function = imported(origin.name)
    try:
        network = function()
    except MilrError:
        raise
    except Exception as error:  # whatever a user's function raises
        what = f"{type(error).__name__}: {first_line(error)}{line_of(error)}"
        raise MilrError(f"backbone.name={origin.name} fails: {what}") from error
    if not isinstance(network, nn.Module):
        raise MilrError(f"backbone.name={origin.name} gives a {type(network).__name__}, no torch.nn.Module")
    return network


def no_pretrained(origin: Origin) -> Mapping[str, Tensor]:
    """There are none."""
    raise MilrError("backbone.weights=pretrained: an imported function gives its own weights, leave it out")
