"""The settings, the files in `conf/` and the groups of the command line belong together."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from typing import Any

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from milr.command.help import config_folder, default_settings, group_options, groups_of
from milr.data.settings import DATA_SETS
from milr.errors import MilrError
from milr.fields import check, leaves, setting
from milr.settings.stages import STAGES
from milr.settings.store import store_schemas

store_schemas()


def settings_of(stage: str, *overrides: str) -> Any:
    needed = ["source=latest"] if STAGES[stage].source else []
    with initialize_config_module("milr.conf", version_base="1.3"):
        return OmegaConf.to_object(compose(stage, [*needed, *overrides]))


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_option_of_every_group_fits_the_stages_types_and_limits(stage: str) -> None:
    """The groups set sections of their own, but for recipes: one option of each at once is as good as one alone."""
    options = {group: group_options(group) for group in groups_of(stage)}
    rows = [[f"experiment={option}"] for option in options.pop("experiment", [])]
    for number in range(max(map(len, options.values()), default=0)):
        rows.append([f"{group}={names[number]}" for group, names in options.items() if number < len(names)])
    for row in rows:
        settings = settings_of(stage, *row)
        assert type(settings) is STAGES[stage].settings, row
        assert type(settings.dataset) is DATA_SETS[settings.dataset.name].settings, row
        check(settings)


@pytest.mark.parametrize("stage", STAGES)
def test_what_hydra_composes_is_what_the_help_shows(stage: str) -> None:
    composed, shown = (dict(leaves(each)) for each in (settings_of(stage), default_settings(STAGES[stage])))
    unresolved = {"cache", "source"}
    assert {k: v for k, v in composed.items() if k not in unresolved} == {
        k: v for k, v in shown.items() if k not in unresolved
    }


def unexplained(settings: Any, prefix: str = "") -> list[str]:
    found = []
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            found += unexplained(value, f"{prefix}{each.name}.")
        elif not each.metadata.get("meaning"):
            found.append(f"{prefix}{each.name}")
    return found


def test_every_setting_is_explained() -> None:
    assert {key for stage in STAGES.values() for key in unexplained(default_settings(stage))} <= {"dataset.name"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 15}, "size=15: the value must be from 16 to 1024"),
        ({"share": float("nan")}, "share=nan: the value must be a finite number"),
        ({"word": "b0x"}, r"word=b0x: choose one of none, box \(did you mean 'box'\?\)"),
        ({"way": 1}, "way=1: one is none"),
    ],
)
def test_a_value_outside_of_its_limits_is_named(given: dict[str, Any], message: str) -> None:
    from dataclasses import dataclass

    @dataclass
    class Some:
        size: int = setting(16, "", low=16, high=1024)
        share: float = setting(0.0, "", low=0)
        word: str = setting("none", "", choices=("none", "box"))
        way: int = setting(0, "", never={1: "one is none"})

    check(Some())
    with pytest.raises(MilrError, match=message):
        check(Some(**given))


def test_a_recipe_reaches_its_stage_and_leaves_the_others_alone() -> None:
    assert settings_of("fit_milr", "experiment=demo").milr.steps != settings_of("fit_milr").milr.steps
    assert settings_of("train_protonet", "experiment=closer_look").episode.shot == 5
    recipes = set(group_options("experiment"))
    for folder in (config_folder() / "experiment").iterdir():
        if folder.is_dir():
            assert {path.stem for path in folder.glob("*.yaml")} <= recipes, "a stage's part of no recipe"
            assert folder.name in STAGES


def test_no_config_says_whether_to_sweep() -> None:
    """What `settings_are_put_together_once` in tests/conftest.py goes by."""
    with initialize_config_module("milr.conf", version_base="1.3"):
        assert compose("train_protonet", return_hydra_config=True).hydra.mode is None
    texts = [path.read_text(encoding="utf-8") for path in config_folder().rglob("*.yaml")]
    assert texts and not any(re.search(r"^\s+mode:|hydra\.mode", text, re.M) for text in texts)


def test_an_override_wins_over_a_recipe() -> None:
    assert settings_of("train_protonet", "episode.shot=3", "experiment=closer_look").episode.shot == 3


def test_leaves_are_dotted_keys() -> None:
    assert dict(leaves({"a": {"b": 1, "c": [1]}, "d": None})) == {"a.b": 1, "a.c": [1], "d": None}
