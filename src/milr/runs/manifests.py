"""What a run folder says of itself: its manifest, its settings, and whether it is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from omegaconf import OmegaConf

from milr.errors import MilrError
from milr.fields import leaves
from milr.runs.folder import CONFIG, FINISHED, MANIFEST, MARKER, plain

LOST = "without it nothing can go on from the run; put the file back, or make the run anew"
TABLE, TEXT, NUMBER = (dict, "table"), (str, "text"), ((int, float), "number")
KINDS: Mapping[str, tuple[Any, str]] = {  # of a manifest's entries by their dotted names, where it has them
    **dict.fromkeys(("parent", "checkpoint", "weights", "backbone", "episode", "metric", "data", "split"), TABLE),
    **dict.fromkeys(("settings", "result", "result.validation", "versions", "git", "host"), TABLE),
    **dict.fromkeys(("stage", "state", "data.name", "data.root", "data.crop", "data.fingerprint"), TEXT),
    **dict.fromkeys(("parent.folder", "parent.stage", "parent.checkpoint", "parent.sha256"), TEXT),
    **dict.fromkeys(("checkpoint.file", "checkpoint.sha256"), TEXT),
    **dict.fromkeys(("seconds", "data.size", "data.images", "data.classes"), NUMBER),
}
WHOLE = ("data", "parent")  # tables that have all of theirs

# Keys that change nothing in a run's result, and such by their last word in any section. The source's place is among
# them: its checkpoint is compared by its sha256.
MAY_DIFFER, OF_ANY_SECTION = ("device", "outputs", "resume", "source", "cache", "logger"), ("log_every", "save_every")
MAY_MOVE = ("dataset.root",)  # the pictures themselves are compared by their fingerprint
# Sections of the settings that an older manifest has, and as what: of the data set the number of classes is another.
OLDER = {"backbone": "backbone", "episode": "episode", "metric": "metric", "dataset": "data"}
OTHERWISE = ("dataset.classes",)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a run folder. Errors: MilrError if there is none or it cannot be read."""
    path = folder / MANIFEST
    try:
        if not path.is_file():
            raise MilrError(
                f"{folder} is no run folder: it has no {MANIFEST}" if folder.is_dir() else f"no folder {folder}"
            )
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise MilrError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # the latter of brackets within brackets
        raise MilrError(f"{path} cannot be read: {error}") from error
    if not isinstance(manifest, dict):
        raise MilrError(f"{path} is no manifest of milr")
    require_kinds(path, manifest)
    return manifest


def require_kinds(path: Path, manifest: Mapping[str, Any]) -> None:
    """MilrError for the first entry that is of another kind than milr writes it: it was edited."""
    for name, (kind, word) in KINDS.items():
        table, _, key = name.rpartition(".")
        entries = manifest.get(table) if table else manifest
        if not isinstance(entries, dict):  # that it is none is said, or it is not there
            continue
        if entries.get(key) is None and table in WHOLE:
            raise MilrError(f"{path} is no manifest of milr: it has no '{name}'")
        if not isinstance(value := entries.get(key), kind) and value is not None:
            raise MilrError(f"{path} is no manifest of milr: its '{name}' is {value!r}, no {word}")


def read_config(folder: Path) -> dict[str, Any]:
    """The saved settings of a run. Errors: MilrError where they are missing, cannot be read, or are others than those
    that the run was made with."""
    path = folder / CONFIG
    try:
        refuse_references(path.read_text(encoding="utf-8"))
        config = OmegaConf.to_container(OmegaConf.load(path))
    except Exception as error:  # missing, unreadable or no YAML
        mark = getattr(error, "problem_mark", None)
        where = f":{mark.line + 1}" if mark else ""
        why = getattr(error, "strerror", None) or getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise MilrError(f"{path}{where} cannot be read ({why}): {LOST}") from error
    if not isinstance(config, dict) or not config:
        raise MilrError(f"{path} holds no settings: {LOST}")
    if (folder / MANIFEST).is_file():
        require_own_settings(path, read_manifest(folder), config)
    return {str(key): value for key, value in config.items()}


def refuse_references(text: str) -> None:
    """ValueError for YAML that refers to its own parts, as milr never writes it: few lines may mean endless ones."""
    for token in yaml.scan(text):
        if isinstance(token, yaml.AliasToken):
            raise ValueError(f"*{token.value} in line {token.start_mark.line + 1} refers to another part of it")


def require_own_settings(path: Path, manifest: Mapping[str, Any], config: Mapping[Any, Any]) -> None:
    """MilrError where the settings in `path` say otherwise than the manifest, which has them too."""
    then, now = manifest.get("settings"), dict(leaves(config))
    if isinstance(then, Mapping):
        made = dict(leaves(then))
    else:
        tables = {section: manifest.get(entry) for section, entry in OLDER.items()}
        made = dict(leaves({section: table for section, table in tables.items() if isinstance(table, Mapping)}))
        now = {key: value for key, value in now.items() if key in made and key not in OTHERWISE}
        made = {key: made[key] for key in now}
    for key in made | now:
        was, present = made.get(key, "no such key"), plain(now.get(key, "no such key"))
        if was != present and not may_differ(key) and key not in MAY_MOVE:
            raise MilrError(
                f"{path} has {key}={present}, and the run was made with {was} ({MANIFEST}): it was changed, or is "
                "another run's; put the old one back"
            )


def may_differ(key: str) -> bool:
    """Whether a key changes nothing in a run's result."""
    return key in MAY_DIFFER or key.rpartition(".")[2] in OF_ANY_SECTION


def counts_as_finished(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether the run's manifest says finished and its marker is there."""
    return manifest.get("state") == FINISHED and (folder / MARKER).is_file()


def is_done(folder: Path) -> bool:
    """Whether this is the folder of a finished run."""
    try:
        return counts_as_finished(folder, read_manifest(folder))
    except MilrError:
        return False


def parent_folder(child: Path, parent: Mapping[str, Any]) -> Path:
    """Where the parent that the manifest of `child` names lies: at its recorded place, or in the outputs of `child`.

    Either may lie in outputs/<stage>/<run> or in outputs/<stage>_sweeps/<sweep>/<run>. Of outputs that were copied, the
    copy comes first: a folder beside `child` that holds the very checkpoint.
    """
    folder, stage = Path(parent["folder"]), str(parent["stage"])
    names = (Path(stage, folder.name), Path(f"{stage}_sweeps", *folder.parts[-2:]))
    beside = [outputs / name for outputs in child.parents[1:3] for name in names]
    copies = [place for place in beside if holds_checkpoint(place, parent.get("sha256"))]
    return next((place for place in (*copies, folder, *beside) if place.is_dir()), folder)


def holds_checkpoint(folder: Path, sha256: object) -> bool:
    """Whether this is the folder of a run whose manifest records a checkpoint with this sha256."""
    try:
        checkpoint = read_manifest(folder).get("checkpoint")
    except MilrError:
        return False
    return isinstance(checkpoint, dict) and sha256 is not None and checkpoint.get("sha256") == sha256
