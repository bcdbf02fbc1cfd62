"""The fitted explainer of a run, or of several with other seeds, on the network they were fitted to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from milr.backbones.protonet import PrototypicalNetwork
from milr.errors import MilrError
from milr.explanation.milr import MILR
from milr.explanation.saving import require_answers, require_network
from milr.fields import leaves
from milr.runs.checkpoints import load_checkpoint
from milr.runs.folder import MANIFEST
from milr.runs.manifests import is_done
from milr.runs.sources import SourceRun, find_parent, find_source
from milr.stages.devices import dtype_of, example_images


def load_explainer(
    source: SourceRun, backbone: str, size: int, device: torch.device, precision: str = "float32"
) -> tuple[MILR, PrototypicalNetwork]:
    """Both from their checkpoints. MilrError if one is truncated, foreign, changed since, or of another backbone."""
    parent = find_parent(source)
    state = load_checkpoint(parent.checkpoint, "protonet")
    network = PrototypicalNetwork.from_state(state, backbone).to(device)
    return on_network(source, parent, network, example_images(size, device), precision), network


def on_network(
    source: SourceRun, parent: SourceRun, network: PrototypicalNetwork, example: Tensor, precision: str
) -> MILR:
    """The fitted explainer of a run, on the network of its parent, which is loaded already."""
    fitted = load_checkpoint(source.checkpoint, "milr")
    way_out = f"fit again on the present one: milr fit-milr source={parent.folder}"
    explainer = MILR.load(network.network, fitted, example, dtype_of(precision), check_network=False)
    require_network(fitted.get("network_sha256"), explainer.layers, way_out)
    require_answers(fitted, explainer.layers, way_out)
    return explainer


def further_fits(source: SourceRun, named: Sequence[str], outputs: Path) -> dict[int, SourceRun]:
    """Seed -> run of the source and of further fits of its network, which are named by folder, or by that of a sweep.

    MilrError for one of another network or decision, and for two with one seed.
    """
    fits, parent = {int(source.config.get("seed", 0)): source}, find_parent(source)
    for folder in (folder for name in named for folder in folders_of(Path(name))):
        run = find_source(outputs, str(source.manifest["stage"]), str(folder))
        if run.folder.resolve() == source.folder.resolve():
            continue
        if run.manifest["parent"]["sha256"] != parent.manifest["checkpoint"]["sha256"]:
            raise MilrError(f"evaluate.sources: {run.folder} is a fit to another network than {source.folder}")
        own, other = method_of(source.config), method_of(run.config)
        for key in (key for key in own | other if own.get(key) != other.get(key)):
            raise MilrError(
                f"evaluate.sources: {run.folder} has {key}={other.get(key)}, and {source.folder} {own.get(key)}: name "
                "fits that differ in their seeds"
            )
        seed = int(run.config.get("seed", 0))
        if seed in fits:
            raise MilrError(f"evaluate.sources: {run.folder} and {fits[seed].folder} have both seed={seed}: leave one")
        fits[seed] = run
    return fits


def method_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of what a fit's maps mean by, which fits whose mean is taken must share."""
    sections = {name: config.get(name) or {} for name in ("decision", "layers", "infomax", "mask", "bottleneck")}
    milr = config.get("milr") or {}
    weights = {f"milr.{key}": milr.get(key) for key in ("alpha", "beta", "gamma", "redundancy")}
    values = {**dict(leaves(sections)), **weights}
    return {key: value for key, value in values.items() if key != "infomax.memory_gib"}  # the same, in memory or a file


def folders_of(place: Path) -> list[Path]:
    """A run folder itself, or the finished runs in that of a sweep. MilrError for one without any."""
    if (place / MANIFEST).is_file():
        return [place]
    runs = sorted(manifest.parent for manifest in place.glob(f"*/{MANIFEST}") if is_done(manifest.parent))
    if not runs:
        raise MilrError(f"evaluate.sources: {place} is no run folder, and no sweep with a finished run in it")
    return runs
