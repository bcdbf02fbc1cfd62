"""What a report is about, in words: data, network and decision of its fits, and how they read what is redundant."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from milr.runs.find import RunInfo
from milr.runs.manifests import read_config

DATA = {"synthetic": "Drawn birds", "cub": "CUB-200-2011", "funnybirds": "FunnyBirds"}


def title_of(fits: Sequence[RunInfo]) -> str:
    """ "Drawn birds, resnet10, 5-way 1-shot"; of several fits each title once."""
    return "; ".join(dict.fromkeys(map(title, fits)))


def title(fit: RunInfo) -> str:
    """Of one fit."""
    config = read_config(fit.folder)
    data, network, episode = (config.get(section) or {} for section in ("dataset", "backbone", "episode"))
    decision = str((config.get("decision") or {}).get("name", "prototypes"))
    kind = str(data.get("name", ""))
    shape = f"{episode.get('way')}-way {episode.get('shot')}-shot"
    pictures = DATA.get(kind) or Path(str(data.get("root", kind))).name
    name = str(network.get("name", "")).rstrip("/").rpartition("/")[2]
    return ", ".join(word for word in (pictures, name, shape if decision == "prototypes" else decision) if word)


def readings_of(fits: Sequence[RunInfo]) -> list[str]:
    """The values of milr.redundancy of the fits, each once."""
    sections = [read_config(fit.folder).get("milr") or {} for fit in fits]
    return sorted({str(section.get("redundancy", "occluded")) for section in sections})
