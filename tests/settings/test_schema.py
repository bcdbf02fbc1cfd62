"""The configs, their types and their limits belong together."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from milr.command.help import config_folder, group_options, groups_of
from milr.command.mistakes import keyed_types
from milr.data.settings import DATASETS
from milr.errors import MilrError
from milr.explanation.settings import MilrSettings
from milr.settings.limits import CHOICES, RANGES, check_limits
from milr.settings.schema import STAGES
from milr.settings.store import store_schemas
from milr.settings.values import leaves

store_schemas()


def settings_of(stage: str, *overrides: str) -> Any:
    needed = ["source=latest"] if "source" in STAGES[stage].__dataclass_fields__ else []
    with initialize_config_module("milr.conf", version_base="1.3"):
        return OmegaConf.to_object(compose(stage, [*needed, *overrides]))


def options() -> list[tuple[str, str]]:
    return [(stage, f"{group}={o}") for stage in STAGES for group in groups_of(stage) for o in group_options(group)]


@pytest.mark.parametrize(("stage", "override"), options())
def test_every_option_of_every_group_fits_the_stages_types_and_limits(stage: str, override: str) -> None:
    settings = settings_of(stage, override)
    assert type(settings) is STAGES[stage]
    assert type(settings.dataset) is DATASETS[settings.dataset.name]
    check_limits(settings)


def test_the_groups_are_those_of_the_command_line() -> None:
    assert list(groups_of("fit_milr")) == ["dataset", "backbone", "layers", "experiment"]
    assert group_options("backbone") == ["conv4", "resnet10", "resnet12", "resnet18", "resnet34", "resnet50"]
    assert group_options("layers") == ["layer1_avgpool", "layer1_layer4", "layer2_avgpool", "layer3_avgpool"]


def test_a_recipe_reaches_its_stage_and_leaves_the_others_alone() -> None:
    assert settings_of("fit_milr", "experiment=demo").milr.steps != settings_of("fit_milr").milr.steps
    assert settings_of("train_protonet", "experiment=closer_look").episode.shot == 5
    recipes = set(group_options("experiment"))
    for folder in (config_folder() / "experiment").iterdir():
        if folder.is_dir():
            assert {path.stem for path in folder.glob("*.yaml")} <= recipes, "a stage's part of no recipe"
            assert folder.name in STAGES


def test_an_override_wins_over_a_recipe() -> None:
    assert settings_of("train_protonet", "episode.shot=3", "experiment=closer_look").episode.shot == 3


def test_the_libraries_defaults_are_the_configs() -> None:
    fit = settings_of("fit_milr")
    library = MilrSettings()
    assert (fit.milr.alpha, fit.milr.beta, fit.milr.redundancy) == (library.alpha, library.beta, library.redundancy)
    for section in ("infomax", "mask", "bottleneck"):
        assert asdict(getattr(fit, section)) == asdict(getattr(library, section))


def config_files() -> list[Path]:
    return sorted(path for path in config_folder().rglob("*.yaml") if "experiment" not in path.parts)


@pytest.mark.parametrize("path", config_files(), ids=lambda path: path.stem)
def test_every_key_is_explained(path: Path) -> None:
    if path.stem == "common":
        return
    lines = re.sub(r"(?ms)^(defaults|hydra):\n( .*\n|\n)*", "", path.read_text()).splitlines()
    unexplained = [line.split(":")[0].strip() for line in lines if re.match(r" *\w+: \S", line) and " # " not in line]
    assert set(unexplained) <= {"name"}
    assert path.read_text().startswith("# ") or "layers" in path.parts


def test_every_limit_is_one_of_a_key_that_exists() -> None:
    keys = {key for kind in STAGES.values() for name in DATASETS for key, _ in keyed_types(kind, name)}
    assert keys >= CHOICES.keys() | RANGES.keys()


def test_every_number_has_limits() -> None:
    for kind in STAGES.values():
        for key, type_ in keyed_types(kind, "synthetic"):
            assert type_ not in (int, float) or key in RANGES, key


@pytest.mark.parametrize("key", RANGES)
def test_limits_hold_on_both_sides(key: str) -> None:
    smallest, largest = RANGES[key]
    *sections, name = key.split(".")

    def nested(value: float) -> dict[str, Any]:
        entries: dict[str, Any] = {name: value}
        for section in reversed(sections):
            entries = {section: entries}
        return entries

    check_limits(nested(smallest))
    for outside in (smallest - 1, largest * 2 if largest < float("inf") else float("nan")):
        with pytest.raises(MilrError, match=re.escape(key)):
            check_limits(nested(outside))


def test_leaves_are_dotted_keys() -> None:
    assert dict(leaves({"a": {"b": 1, "c": [1]}, "d": None})) == {"a.b": 1, "a.c": [1], "d": None}
