"""Networks of timm, by name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from milr.backbones.origins import Origin, no_such, package_of
from milr.data.augmentation import Normalisation


def timm_facts(name: str) -> Any:
    """timm's own facts of a network, its `pretrained_cfg`."""
    timm = package_of("timm")
    if not timm.is_model(name):
        raise no_such("timm", name, timm.list_models())
    try:
        return timm.models.get_pretrained_cfg(name)
    except RuntimeError as error:  # an unknown tag after the dot
        tags = [each for each in timm.list_pretrained() if each.startswith(f"{name.partition('.')[0]}.")]
        raise no_such("timm", name, tags) from error


def timm_pictures(name: str) -> tuple[int, Normalisation]:
    """From timm's facts."""
    facts = timm_facts(name)
    return facts.input_size[-1], Normalisation(tuple(facts.mean), tuple(facts.std))


def timm_network(origin: Origin, pretrained: bool = False) -> nn.Module:
    """The network for pictures of this size, where it must know that beforehand."""
    timm, facts = package_of("timm"), timm_facts(origin.name)
    given = {"pretrained": pretrained} | ({"num_classes": 0} if origin.head == "drop" else {})
    try:
        size = {"img_size": origin.size} if facts.fixed_input_size else {}
        network: nn.Module = timm.create_model(origin.name, **given, **size)
    except TypeError as error:
        if "img_size" not in str(error):
            raise
        network = timm.create_model(origin.name, **given)
    return network


def timm_adapted(origin: Origin, network: nn.Module, content: Any) -> Any:
    """A file's content by timm's own filter for that: position embeddings for another size, names of other releases."""
    timm = package_of("timm")
    module = sys.modules[timm.models.model_entrypoint(origin.name.partition(".")[0]).__module__]
    adapt = getattr(module, "checkpoint_filter_fn", None)
    return adapt(dict(content), network) if adapt and isinstance(content, Mapping) else content


def timm_heads(origin: Origin, network: nn.Module) -> tuple[str, ...]:
    """The classifier's name."""
    name = timm_facts(origin.name).classifier
    return (name,) if isinstance(name, str) else tuple(name or ())
