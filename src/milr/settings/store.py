"""Makes the typed schemas known to Hydra under the names that the files in `conf/` refer to."""

from __future__ import annotations

from functools import cache

from hydra.core.config_store import ConfigStore

from milr.data.settings import DATA_SETS
from milr.settings.stages import STAGES


@cache
def store_schemas() -> None:
    """Once: the schemas of stages (`schema/<stage>`) and data sets (`schema/dataset/<name>`) go into Hydra's store."""
    store = ConfigStore.instance()
    for name, stage in STAGES.items():
        store.store(group="schema", name=name, node=stage.settings, package="_global_", provider="milr")
    for name, data_set in DATA_SETS.items():
        store.store(group="schema/dataset", name=name, node=data_set.settings, provider="milr")
