from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from milr.lineage.differences import differences


def config_of(stage: str, *words: str) -> dict[str, object]:
    """The settings that Hydra makes of these words."""
    from hydra import compose, initialize_config_module

    from milr.settings.store import store_schemas

    store_schemas()
    with initialize_config_module("milr.conf", version_base="1.3"):
        found = OmegaConf.to_container(compose(stage, overrides=list(words)), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


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
