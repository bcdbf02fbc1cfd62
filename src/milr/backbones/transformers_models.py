"""Networks of Hugging Face's transformers, by a folder or a name on its hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from inspect import signature
from typing import Any

from torch import Tensor, nn

from milr.backbones.origins import SIDE, Origin, package_of
from milr.backbones.weights import choose_weights
from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError
from milr.text import first_line


def transformers_config(name: str) -> Any:
    """The configuration of a network for pictures; of two towers, that of the pictures' one."""
    transformers = package_of("transformers")
    try:
        config = transformers.AutoConfig.from_pretrained(name)
    except Exception as error:  # whatever the hub's client raises
        raise MilrError(
            f"backbone.name={name}: no folder with a network of transformers', and not to be had from its hub "
            f"({first_line(error)})"
        ) from error
    return getattr(config, "vision_config", config)


def transformers_pictures(name: str) -> tuple[int, Normalisation]:
    """From its image processor; without one, ImageNet's statistics and the configuration's size."""
    config = transformers_config(name)
    side = getattr(config, "image_size", SIDE)
    try:
        facts = package_of("transformers").AutoImageProcessor.from_pretrained(name)
    except MilrError:
        raise
    except Exception:  # it has none, or one that this version does not know
        return side if isinstance(side, int) else side[0], IMAGENET
    sides = dict(getattr(facts, "crop_size", None) or facts.size or {})
    side = sides.get("height") or sides.get("shortest_edge") or side
    if not getattr(facts, "do_normalize", True):
        return side, Normalisation((0.0,) * 3, (1.0,) * 3)
    return side, Normalisation(tuple(facts.image_mean), tuple(facts.image_std))


class OneOutput(nn.Module):
    """A network of transformers' with one tensor as its output: images [K, 3, S, S] -> [K, D].

    That is the logits, where it is a classifier; else its pooled output; without one the class token, or the mean.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        if hasattr(getattr(model, "pooler", None), "dense"):  # learned for another task, and mostly not in files
            model.pooler = None  # type: ignore[assignment]
        resized = "interpolate_pos_encoding" in signature(model.forward).parameters
        self.arguments = {"interpolate_pos_encoding": True} if resized else {}
        self.has_class_token = any(name.endswith(("cls_token", "class_embedding")) for name in model.state_dict())

    def forward(self, images: Tensor) -> Tensor:
        """The embedding or the logits of images, one row each."""
        output = self.model(pixel_values=images, **self.arguments)
        logits, pooled = getattr(output, "logits", None), getattr(output, "pooler_output", None)
        for result in (logits, pooled):
            if isinstance(result, Tensor):
                return result.flatten(1)
        last: Tensor = output.last_hidden_state
        if last.ndim == 4:
            return last.mean((2, 3))
        return last[:, 0] if self.has_class_token else last.mean(1)


def transformers_class(head: str) -> Any:
    """The class that makes the network."""
    transformers = package_of("transformers")
    return transformers.AutoModel if head == "drop" else transformers.AutoModelForImageClassification


def transformers_network(origin: Origin) -> nn.Module:
    """The network of a configuration."""
    facts = json.loads(origin.config)
    config = package_of("transformers").AutoConfig.for_model(facts.pop("model_type"), **facts)
    return OneOutput(transformers_class(origin.head).from_config(config))


def transformers_pretrained(origin: Origin) -> Mapping[str, Tensor]:
    """The weights in its folder or on its hub. MilrError where some of the network's are not there."""
    config = transformers_config(origin.name)
    model, facts = transformers_class(origin.head).from_pretrained(origin.name, config=config, output_loading_info=True)
    if missing := sorted(key for key in facts["missing_keys"] if not key.startswith("pooler.")):
        raise MilrError(f"{origin.name} has no weights for {len(missing)} tensors of the network ({missing[0]}, ...)")
    return OneOutput(model).state_dict()


def transformers_adapted(origin: Origin, network: nn.Module, content: Any) -> Any:
    """Of a file with the network itself, not with what `OneOutput` makes of it."""
    inner = network.get_submodule("model").state_dict()
    weights = choose_weights(inner, content, origin.name, "the file", ("pooler",))
    return {f"model.{name}": value for name, value in weights.items()}
