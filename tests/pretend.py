"""Stages whose work only pretends, behind the real command line, configuration and run folders."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from milr.settings.stages import STAGES

Work = Callable[..., float]


def pretend(monkeypatch: pytest.MonkeyPatch, **works: Work) -> None:
    """`milr train-protonet` does `works["train_protonet"](settings, run)`, and so on; no file is promised."""
    module = ModuleType("pretended")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    for name, work in works.items():
        setattr(module, name, work)
        monkeypatch.setitem(STAGES, name, replace(STAGES[name], work=f"pretended:{name}", files=()))
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
