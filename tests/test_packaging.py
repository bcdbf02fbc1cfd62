"""What `pip install .` installs, and what `make` installs before it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import milr

if sys.version_info >= (3, 11):
    from tomllib import loads as load_toml
else:
    from tomli import loads as load_toml  # comes with pytest there

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def installed(made_once: Callable[..., Path]) -> Path:
    """A folder with the contents of the wheel that this checkout builds."""
    return made_once("installed", build)


def build(target: Path) -> None:
    copy = target.with_name("copy")
    ignored = shutil.ignore_patterns("*.egg-info", "__pycache__")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    code = f"from setuptools.build_meta import build_wheel; build_wheel({str(target)!r})"
    built = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    (wheel,) = target.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(target)


def test_the_wheel_holds_every_module_every_config_and_the_page(installed: Path) -> None:
    modules = {path.relative_to(ROOT / "src") for path in (ROOT / "src/milr").rglob("*.py")}
    configs = {Path("milr") / path.relative_to(ROOT) for path in (ROOT / "conf").rglob("*.yaml")}
    page = {path.relative_to(ROOT / "src") for path in (ROOT / "src/milr/report/templates").iterdir()}
    there = {path.relative_to(installed) for path in (installed / "milr").rglob("*") if path.is_file()}
    assert there == modules | configs | page | {Path("milr/conf/__init__.py"), Path("milr/py.typed")}


def test_the_installed_configs_are_found_from_any_folder(installed: Path) -> None:
    code = "from milr.cli import main; import milr.conf, sys; print(milr.conf.__file__); sys.exit(main())"
    for arguments in (["visualize", "--help"], ["visualize", "--cfg", "job", "source=latest"]):
        environment = {**os.environ, "PYTHONPATH": str(installed)}
        answer = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert answer.returncode == 0, answer.stderr
        assert answer.stdout.startswith(str(installed))
        assert "scale: kind" in answer.stdout


def test_the_command_is_installed(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "milr = milr.cli:main" in entry_points.read_text()
    (metadata,) = installed.glob("*.dist-info/METADATA")
    lines = metadata.read_text().splitlines()
    assert "Requires-Python: <3.14,>=3.10" in lines
    assert "License-Expression: MIT" in lines


def test_the_lock_pins_everything_and_names_no_place() -> None:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][^ ]*( ; .+)?", line) for line in pins)
    assert {"torch", "torchvision", "hydra-core", "pytest", "mypy"} <= {line.partition("==")[0] for line in pins}


def project() -> dict[str, Any]:
    """What pyproject.toml says of the project."""
    return load_toml((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_the_citation_has_the_version_of_the_package() -> None:
    assert re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(), re.M).group(1) == milr.__version__


def test_all_is_every_extra_that_a_user_may_want() -> None:
    extras = project()["optional-dependencies"]
    (everything,) = extras.pop("all")
    assert set(everything.removeprefix("milr[").removesuffix("]").split(",")) == {*extras} - {"dev", "docs", "bench"}


def test_the_classifiers_the_workflow_and_the_bounds_name_the_same_pythons() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project()["classifiers"]))
    assert project()["requires-python"] == ">=3.10,<3.14" and named == ["3.10", "3.11", "3.12", "3.13"]
    assert all(f'"{version}"' in (ROOT / ".github/workflows/checks.yml").read_text() for version in named)
