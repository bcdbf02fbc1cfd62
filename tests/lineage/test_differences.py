from __future__ import annotations

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from milr.errors import MilrError
from milr.lineage.differences import differences, spelled, words_of
from milr.settings.values import leaves

TEXT = st.text(st.characters(exclude_categories=("C", "Z")) | st.sampled_from(" ',\\\"=[]{}:#é"), max_size=12)
VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT


@given(VALUES | st.lists(VALUES, max_size=4))
@example("/data/Vögel")
def test_hydra_reads_every_value_back(value: object) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={spelled(value)}"])
    assert override.value() == value


def config_of(stage: str, *words: str) -> dict[str, object]:
    """The settings that Hydra makes of these words."""
    from hydra import compose, initialize_config_module

    from milr.settings.store import store_schemas

    store_schemas()
    with initialize_config_module("milr.conf", version_base="1.3"):
        found = OmegaConf.to_container(compose(stage, overrides=list(words)), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        (
            "train_protonet",
            ["dataset=cub", "dataset.root='/a b,c'", "backbone=resnet50", "train.freeze=[conv1,layer1]"],
        ),
        ("train_protonet", ["experiment=cub_crops_imagenet", "backbone.weights=imagenet", "seed=7"]),
        ("fit_milr", ["source=/runs/x", "layers=layer3_avgpool", "milr.beta=1e-5", "mask.stages=[layer1]"]),
        ("evaluate", ["source='/runs/é'", "evaluate.percent=[10,20.5]", "evaluate.baselines=[]", "episode.shot=5"]),
        ("visualize", ["source=/r", "images=['/a b.jpg']", "dataset=folder"]),
    ],
)
def test_the_words_put_the_same_settings_together_again(stage: str, words: list[str]) -> None:
    config = config_of(stage, *words)
    again = config_of(stage, *words_of(stage, config, Path("/elsewhere")))
    assert again == {**config, "outputs": "/elsewhere"}


def test_what_a_stage_takes_from_its_source_is_spelled_out_even_where_it_is_the_default() -> None:
    words = words_of("test_protonet", config_of("test_protonet", "source=/runs/x"), Path("/o"))
    assert "episode.shot=1" in words and "dataset=synthetic" in words
    assert "episode.shot=1" not in words_of("train_protonet", config_of("train_protonet"), Path("/o"))


def test_differences_are_told_from_the_defaults_and_from_the_parent() -> None:
    trained = config_of("train_protonet", "dataset=cub", "episode.way=3", "seed=4")
    assert differences("train_protonet", trained) == {"dataset.name": "cub", "episode.way": 3, "seed": 4}
    fitted = config_of("fit_milr", "source=/x", "dataset=cub", "episode.way=3", "milr.beta=0.5")
    assert differences("fit_milr", fitted, trained) == {"milr.beta": 0.5}
    assert differences("fit_milr", fitted).keys() == {"dataset.name", "episode.way", "milr.beta"}


@pytest.mark.parametrize(("stage", "source"), [("train_protonet", []), ("fit_milr", ["source=/x"])])
def test_a_cache_in_the_outputs_is_no_difference(stage: str, source: list[str]) -> None:
    assert differences(stage, config_of(stage, *source)) == {}
    assert differences(stage, config_of(stage, *source, "outputs=/runs")) == {"outputs": "/runs"}
    assert differences(stage, config_of(stage, *source, "cache=/c")) == {"cache": "/c"}


def test_settings_of_another_version_are_refused() -> None:
    config = config_of("train_protonet")
    with pytest.raises(MilrError, match="no dataset=bees"):
        words_of("train_protonet", {**config, "dataset": {**dict(config["dataset"]), "name": "bees"}}, Path("/o"))  # type: ignore[call-overload]
    with pytest.raises(MilrError, match="there is no old any more"):
        words_of("train_protonet", {**config, "old": 1}, Path("/o"))
    assert "seed" in dict(leaves(config))
