from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from milr.backbones.settings import BackboneSettings
from milr.data.settings import CubSettings, EpisodeSettings, SyntheticSettings
from milr.errors import MilrError
from milr.networks.settings import MetricSettings
from milr.runs.inherit import fit_settings_of, inherit
from milr.runs.sources import SourceRun, find_source
from milr.settings.schema import ChainedStageSettings
from milr.stages.episodes import decision_of

MakeRun = Callable[..., Path]
FREE = ("dataset", "episode")


@pytest.fixture
def source(make_run: MakeRun, tmp_path: Path) -> SourceRun:
    """A network on cub, size 96, crop bbox, resnet18, 4-way 2-shot, cosine."""
    return find_source(tmp_path, "train_protonet", str(make_run()))


def composed(**changed: Any) -> ChainedStageSettings:
    """The stage's defaults with what the command line changed."""
    sections: dict[str, Any] = {
        "dataset": SyntheticSettings("synthetic", "/drawn", "none", 84, "novel", 60, 30, 128, 0),
        "backbone": BackboneSettings("conv4", "none"),
        "episode": EpisodeSettings(5, 1, 10),
        "metric": MetricSettings("euclidean", 1.0, False),
    }
    return ChainedStageSettings(seed=7, device="cpu", outputs="out", source="latest", **{**sections, **changed})


@pytest.mark.parametrize("free", [(), FREE])
def test_without_overrides_everything_is_the_sources(source: SourceRun, free: tuple[str, ...]) -> None:
    settings = inherit(composed(), source, ["source=latest", "seed=7"], free)
    for section in ("dataset", "backbone", "episode", "metric"):
        inherited = asdict(getattr(settings, section))  # keys that are new since keep their default
        assert inherited | source.config[section] == inherited
    assert isinstance(settings.dataset, CubSettings)
    assert (settings.seed, settings.outputs) == (7, "out")


def test_a_recipes_values_give_way_to_the_sources(source: SourceRun) -> None:
    settings = inherit(composed(episode=EpisodeSettings(20, 5, 1)), source, ["experiment=closer_look"])
    assert asdict(settings.episode) == source.config["episode"]


@pytest.mark.parametrize(
    ("override", "changed", "message"),
    [
        ("episode.way=9", {"episode": EpisodeSettings(9, 1, 10)}, r"episode.way=9 .*episode.way=4"),
        ("backbone=conv4", {}, r"backbone=conv4 .*backbone=resnet18"),
        ("backbone.weights=/w", {"backbone": BackboneSettings("conv4", "/w")}, r"weights=/w .*weights=none"),
        ("dataset=synthetic", {}, r"dataset=synthetic .*dataset=cub"),
        ("dataset.crop=none", {}, r"dataset.crop=none .*dataset.crop=bbox"),
        ("metric.temperature=1.0", {}, r"metric.temperature=1.0 .*metric.temperature=0.1"),
        ("episode={way: 9}", {"episode": EpisodeSettings(9, 1, 10)}, r"episode.way=9 .*episode.way=4"),
        ("dataset={size: 84}", {}, r"dataset.size=84 .*dataset.size=96"),
    ],
)
def test_an_override_against_the_source_is_an_error_with_both_values(
    source: SourceRun, override: str, changed: dict[str, Any], message: str
) -> None:
    with pytest.raises(MilrError, match=message):
        inherit(composed(**changed), source, [override])


def test_an_override_that_agrees_with_the_source_is_accepted(source: SourceRun) -> None:
    stated = composed(episode=EpisodeSettings(4, 1, 10), backbone=BackboneSettings("resnet18", "imagenet"))
    settings = inherit(stated, source, ["episode.way=4", "backbone=resnet18"])
    assert asdict(settings.episode) == source.config["episode"]
    assert settings.backbone.weights == "none"  # a group names the backbone, not where its weights came from


def test_a_section_given_as_a_whole_is_as_its_keys_one_by_one(source: SourceRun) -> None:
    stated = composed(episode=EpisodeSettings(4, 1, 10))
    assert asdict(inherit(stated, source, ["episode={way: 4}"]).episode) == source.config["episode"]
    settings = inherit(composed(episode=EpisodeSettings(5, 1, 10)), source, ["episode={way: 5}"], FREE)
    assert settings.episode == EpisodeSettings(5, 2, 3)


def test_another_data_set_may_be_looked_at_in_the_networks_size(source: SourceRun) -> None:
    settings = inherit(composed(), source, ["dataset=synthetic"], FREE)
    assert isinstance(settings.dataset, SyntheticSettings)
    assert (settings.dataset.root, settings.dataset.crop, settings.dataset.size) == ("/drawn", "none", 96)
    assert settings.backbone.name == "resnet18"


def test_single_settings_of_the_sources_data_set_may_be_changed(source: SourceRun) -> None:
    stated = composed(dataset=SyntheticSettings("synthetic", "/frames", "none", 84, "all", 60, 30, 128, 0))
    settings = inherit(stated, source, ["dataset.root=/frames", "dataset.split=all"], FREE)
    assert settings.dataset == CubSettings("cub", "/frames", "bbox", 96, "all")


def test_the_group_of_the_sources_own_data_set_keeps_its_settings(source: SourceRun) -> None:
    stated = composed(dataset=CubSettings("cub", "/default", "none", 84, "all"))
    settings = inherit(stated, source, ["dataset=cub", "dataset.split=all"], FREE)
    assert settings.dataset == CubSettings("cub", "/birds", "bbox", 96, "all")


def test_another_episode_may_be_drawn(source: SourceRun) -> None:
    settings = inherit(composed(episode=EpisodeSettings(5, 5, 10)), source, ["episode.way=5", "episode.shot=5"], FREE)
    assert settings.episode == EpisodeSettings(5, 5, 3)


@pytest.mark.parametrize(
    ("override", "changed"),
    [
        ("dataset.size=84", {}),
        ("backbone=conv4", {}),
        ("metric.distance=euclidean", {}),
    ],
)
def test_what_belongs_to_the_network_is_never_free(source: SourceRun, override: str, changed: dict[str, Any]) -> None:
    with pytest.raises(MilrError, match="contradicts the source run"):
        inherit(composed(**changed), source, [override], FREE)


def test_a_size_against_the_source_is_an_error_also_with_another_data_set(source: SourceRun) -> None:
    with pytest.raises(MilrError, match="dataset.size=84 .*dataset.size=96"):
        inherit(composed(), source, ["dataset=synthetic", "dataset.size=84"], FREE)


def test_a_config_of_another_version_is_named(make_run: MakeRun, tmp_path: Path) -> None:
    source = find_source(tmp_path, "train_protonet", str(make_run(episode={"way": 5, "old": 1})))
    with pytest.raises(MilrError, match="'episode'.*another version"):
        inherit(composed(), source, [])


def test_a_fit_whose_beta_counted_nats_per_place_is_looked_at_and_not_made_again(
    make_run: MakeRun, tmp_path: Path
) -> None:
    old = {"milr": {"beta": 0.01, "beta_warmup": 0.5}, "layers": {"local": "layer1", "global": "avgpool"}}
    fitted = find_source(tmp_path, "fit_milr", str(make_run("fit_milr", **old)))
    assert decision_of(fitted).name == "prototypes"
    with pytest.raises(MilrError, match=r"milr\.beta=0\.01 weighed nats per place: fit again, with milr\.beta="):
        fit_settings_of(fitted)


def test_a_single_key_may_be_free(source: SourceRun) -> None:
    changed = asdict(composed().dataset) | {"split": "validation"}
    settings = inherit(
        composed(dataset=SyntheticSettings(**changed)), source, ["dataset.split=validation"], ("dataset.split",)
    )
    assert asdict(settings.dataset) == {**source.config["dataset"], "split": "validation"}
    with pytest.raises(MilrError, match="dataset.size=84 contradicts"):
        inherit(composed(), source, ["dataset.size=84"], ("dataset.split",))
