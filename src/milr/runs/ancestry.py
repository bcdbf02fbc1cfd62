"""What a run was made from, up to the data, and whether that is still what it was."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from milr.data.catalogues import catalogue_sha256, open_catalogue
from milr.data.split import of_split
from milr.errors import MilrError
from milr.files import sha256_of
from milr.runs.folder import CONFIG, FINISHED
from milr.runs.manifests import parent_folder, read_manifest
from milr.settings.saved import dataset_from


@dataclass(frozen=True)
class Ancestor:
    """A run (or a file of weights) that a run goes back to; `problem` tells why it can no longer be trusted."""

    stage: str
    folder: Path
    checkpoint: str
    problem: str | None


def ancestors(folder: Path, manifest: Mapping[str, Any]) -> list[Ancestor]:
    """The parent of the run in `folder`, its parent, and so on up to the weights that the first network began with."""
    result: list[Ancestor] = []
    while isinstance(parent := manifest.get("parent"), Mapping):
        if not {"folder", "stage", "checkpoint", "sha256"} <= parent.keys():
            return [
                *result,
                Ancestor("?", folder, "", f"the manifest of {folder} names a parent without its checkpoint"),
            ]
        place = parent_folder(folder, parent)
        if any(place == ancestor.folder for ancestor in result):
            return [*result, Ancestor("?", place, "", "the manifests name each other as parents")]
        problem = changed(place / str(parent["checkpoint"]), str(parent["sha256"]))
        try:
            manifest = read_manifest(place)
            if not problem and manifest.get("state") != FINISHED:
                problem = f"its state is {manifest.get('state')!r}"
        except MilrError as error:
            manifest, problem = {}, problem or str(error)
        result.append(Ancestor(str(parent["stage"]), place, str(parent["checkpoint"]), problem))
        folder = place
    weights = manifest.get("weights")
    if isinstance(weights, Mapping) and {"file", "sha256"} <= weights.keys():
        file = Path(str(weights["file"]))
        result.append(Ancestor("weights", file.parent, file.name, changed(file, str(weights["sha256"]))))
    return result


def changed(file: Path, recorded: str) -> str | None:
    """What is wrong with a file whose sha256 was recorded; None if it is still the same."""
    if not file.parent.is_dir():
        return "its folder is gone"
    if not file.is_file():
        return f"{file.name} is gone"
    try:
        now = sha256_of(file)
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"
    return None if now == recorded else f"{file.name} has changed since: sha256 {recorded[:12]} then, {now[:12]} now"


def data_problem(manifest: Mapping[str, Any], config: Mapping[str, Any]) -> str | None:
    """What is wrong with the data that the run looked at; None if its fingerprint is the same, or none was recorded."""
    data, dataset = manifest.get("data"), dict(config.get("dataset") or {})
    if not isinstance(data, Mapping) or "fingerprint" not in data:
        return None
    if not Path(str(dataset.get("root"))).is_dir():
        return "it is gone"
    try:
        catalogue = open_catalogue(dataset_from(dataset, Path(CONFIG)))
        splits = [*(manifest.get("split") or {}).values()]
        if len(splits) == 1 and {*splits[0]} & {*catalogue.class_names.values()}:  # classes of one split alone
            catalogue = of_split(catalogue, str(dataset["split"]))
        now = catalogue_sha256(catalogue, Path(data["table"]) if "table" in data else None)
    except MilrError as error:
        return str(error)
    except (KeyError, TypeError):
        return "its settings are of another version"
    recorded = str(data["fingerprint"])
    return None if now == recorded else f"it has changed since: fingerprint {recorded[:12]} then, {now[:12]} now"
