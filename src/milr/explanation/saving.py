"""The fitted modules in a file, and their way back from it, on the network that they were fitted on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from milr.decisions.inputs import described, own_modes
from milr.errors import MilrError
from milr.explanation.bottlenecks import BOTTLENECKS
from milr.explanation.known_network import KnownNetwork
from milr.explanation.modules import Modules, ReferenceBank
from milr.explanation.settings import MilrSettings
from milr.files import checked_path, require_whole, write_atomically
from milr.information.statistics import Standardise
from milr.networks.inputs import Inputs, mapped, take
from milr.networks.layers import LayerPair, weights_sha256
from milr.networks.passes import another
from milr.networks.probes import probe_inputs
from milr.networks.settings import LayerSettings
from milr.seeding import seeded

log = logging.getLogger("milr")

NOTHING = type(None)
KINDS: dict[str, tuple[type, ...]] = {  # of what a state holds; an older one has not all of it
    "local": (str,),
    "z": (str,),
    "settings": (Mapping,),
    "layers": (Mapping, NOTHING),
    "functions": (list, tuple, NOTHING),
    "example": (Tensor, Mapping, list, tuple, NOTHING),
    "answers": (list, tuple, NOTHING),
    "fitted": (bool, NOTHING),
    "network_sha256": (str, NOTHING),
    "precision": (str, NOTHING),
}


def save_state(path: str | Path, state: dict[str, Any]) -> None:
    """Writes what `MILR.state` gave to a file, whole or not at all. MilrError for a folder that is not there."""
    path = checked_path(path, "explainer.save(path)")
    if not path.parent.is_dir() or path.is_dir():
        what = "it is a folder" if path.is_dir() else f"there is no folder {path.parent}"
        raise MilrError(f"{path} cannot be written: {what}")
    write_atomically(path, lambda file: torch.save({"kind": "milr", **state}, file))


def read_state(path: str | Path) -> dict[str, Any]:
    """What `save_state` wrote, or a run's milr.pt, on the CPU. MilrError for any other file."""
    if isinstance(path, nn.Module):
        raise MilrError("the path comes first: milr.load(path, network)")
    if not isinstance(path, str | Path):
        raise MilrError(f"milr.load(path, network): the path is text, not {described(path)}")
    path = Path(path)
    if not path.is_file():
        raise MilrError(f"there is no file {path}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds
        raise MilrError(f"{path} was not written by explainer.save, or it is cut ({type(error).__name__})") from None
    if not isinstance(state, dict) or state.get("kind") != "milr":
        raise MilrError(f"{path} holds no fitted MI-LR module: save one by explainer.save(path)")
    require_whole(path)
    return state


def check_state(state: object) -> dict[str, Any]:
    """The state as `MILR.state` gave it; MilrError for anything else."""
    wanted = ("local", "z", "settings", "modules")
    if isinstance(state, Mapping) and "global" in state:  # what "z" was called
        state = {"z" if name == "global" else name: value for name, value in state.items()}
    if not isinstance(state, Mapping):
        raise MilrError(f"MILR.load takes what MILR.state() gave (torch.load of its file), not {described(state)}")
    if missing := [name for name in wanted if name not in state]:
        raise MilrError(f"this is no state of MILR.state(): it has no {', '.join(missing)}")
    for name, kinds in KINDS.items():
        if not isinstance(state.get(name), kinds):
            raise MilrError(f"this is no state of MILR.state(): its '{name}' is {described(state.get(name))}")
    modules = state["modules"]
    if isinstance(modules, Mapping) and "bank" in modules and "bank.local" not in modules:
        raise MilrError(
            "this state was saved by an earlier version of milr, whose reference bank held single places: fit the "
            "module anew (or load it with that version)"
        )
    if not isinstance(modules, Mapping) or not {"bank.local", "bank.occluded", "bank.representation"} <= set(modules):
        raise MilrError("this is no state of MILR.state(): its modules have no reference bank")
    return dict(state)


def layers_from_state(state: dict[str, Any]) -> LayerSettings:
    """How the layers were read; an older state has their names alone, and a layout."""
    held = state.get("layers") or {"layout": state.get("layout") or "auto"}
    try:
        return LayerSettings(**{**held, "local": state["local"], "z": state["z"]})
    except TypeError as error:
        raise MilrError(f"these are not the layers of this version's MILR.state(): {error}") from None


def precision_of(state: dict[str, Any]) -> torch.dtype:
    """That of the passes it was fitted with; float32 for an older state, which does not say."""
    name = state.get("precision") or "float32"
    precision = getattr(torch, name, None)
    if not isinstance(precision, torch.dtype):
        raise MilrError(f"this is no state of MILR.state(): its precision is {name!r}")
    return precision


def require_same_reading(saved: LayerSettings, layers: LayerPair) -> None:
    """MilrError for a state of an earlier version that took another token for z than is taken now."""
    if saved.read == "auto" and layers.reads_otherwise:
        raise MilrError(
            f"this state was saved by an earlier version of milr, which took another token of '{layers.z}' for z than "
            "the one that the network reads: fit the module anew (or load it with that version)"
        )


def require_network(saved: str | None, layers: LayerPair, way_out: str) -> None:
    """MilrError with a way out if the state was of another network; a warning where the state does not say."""
    if saved is None:
        log.warning("this MI-LR state does not say which network it was fitted on: it is taken for the one given")
    elif (now := weights_sha256(layers.network, layers.written)) != saved:
        raise MilrError(
            f"this MI-LR module was fitted on another network (sha256 of its weights {saved[:12]}, of the one given "
            f"{now[:12]}): {way_out}"
        )


def noise_of(layers: LayerPair) -> Inputs:
    """One input of noise like the example: no picture goes into a file."""
    return take(probe_inputs(layers.example)[0], slice(0, 1))


def answers_to(noise: Inputs, layers: LayerPair) -> list[Tensor]:
    """What the network makes of noise, z and its output: weights alone do not tell what is computed with them."""
    first = layers.first_pass(noise)
    return [first.representation.cpu(), first.output.cpu()]


def require_answers(state: Mapping[str, Any], layers: LayerPair, way_out: str) -> None:
    """MilrError with a way out if the network makes something else of the state's noise than when it was saved.

    Far beyond the rounding of another device or precision.
    """
    if not state.get("answers") or state.get("example") is None:
        return
    device = next(layers.network.parameters(), torch.zeros(())).device
    now = answers_to(mapped(state["example"], lambda part: part.to(device)), layers)
    if any(was.shape != own.shape or another(was, own) for was, own in zip(state["answers"], now, strict=True)):
        raise MilrError(
            "this MI-LR module was fitted on another network: its weights are the same, and what it computes with them "
            f"is not (another activation, scaling of its images, version of its code?): {way_out}"
        )


def require_same_code(known: KnownNetwork, answers: list[Tensor] | None, layers: LayerPair) -> None:
    """MilrError if the network makes something else of noise since an activation, a hook or an attribute was changed.

    It runs only where something of that kind is another than at the last look.
    """
    if not known.may_compute_otherwise(layers.network):
        return
    with own_modes(layers, gradients=False):
        way_out = "put back what was changed in it since, or prepare and fit again"
        require_answers({"answers": answers, "example": noise_of(layers)}, layers, way_out)
    known.remember_code(layers.network)


def rebuilt_modules(settings: MilrSettings, layers: LayerPair, weights: dict[str, Tensor]) -> Modules:
    """The small modules with saved weights. MilrError if they are of layers with other shapes."""
    channels = (layers.local_shape[0], layers.dimension, *layers.stage_channels)
    local, representation, *stages = (Standardise(torch.zeros(count), torch.ones(count)) for count in channels)
    bank = ReferenceBank(*(torch.zeros_like(weights[f"bank.{name}"]) for name in ("local", "representation")))
    bank.occluded = torch.zeros_like(weights["bank.occluded"])  # of another number of images, where a fit saw fewer
    with seeded(0):  # the user's own draws go on as before
        bottleneck = BOTTLENECKS[settings.bottleneck.kind].rebuild(settings.bottleneck, local, weights)
        modules = Modules(settings, layers.grid, local, representation, stages, bottleneck, bank)
    try:
        modules.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2]
        raise MilrError(
            f"the saved MI-LR module does not fit the layers '{layers.local}' and '{layers.z}' of this network: "
            + "".join(first).strip()
        ) from None
    return modules
