"""Makes the typed schemas known to Hydra under the names that the files in `conf/` refer to."""

from __future__ import annotations

from hydra.core.config_store import ConfigStore

from milr.data.settings import DATASETS
from milr.settings.schema import STAGES


def store_schemas() -> None:
    """Put the schema of each stage (`schema/<stage>`) and data set (`schema/dataset/<name>`) into Hydra's store."""
    store = ConfigStore.instance()
    for stage, settings in STAGES.items():
        store.store(group="schema", name=stage, node=settings, package="_global_", provider="milr")
    for name, dataset in DATASETS.items():
        store.store(group="schema/dataset", name=name, node=dataset, provider="milr")
