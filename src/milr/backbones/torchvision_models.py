"""Networks of torchvision, by name."""

from __future__ import annotations

from typing import Any

from torch import nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from milr.backbones.origins import Origin, no_such
from milr.data.augmentation import Normalisation
from milr.errors import MilrError

CLASSIFIERS = ("fc", "classifier", "head", "heads")  # the last of torchvision's modules


def torchvision_weights(name: str) -> Any:
    """The newest of torchvision's weights of a network."""
    if name not in (names := models.list_models(module=models)):
        if name in models.list_models():
            raise MilrError(
                f"backbone.name={name}: it is no classifier of torchvision's, but gives boxes, masks or videos: let a "
                "function return its body, or one tensor of what it gives (backbone=import)"
            )
        raise no_such("torchvision", name, names)
    return models.get_model_weights(name).DEFAULT


def torchvision_pictures(name: str) -> tuple[int, Normalisation]:
    """From what its weights say of pictures."""
    facts = torchvision_weights(name).transforms()
    return facts.crop_size[0], Normalisation(tuple(facts.mean), tuple(facts.std))


def torchvision_network(origin: Origin) -> nn.Module:
    """The network; its classifier's last layer gives way to nothing, the rest of the classifier stays."""
    torchvision_weights(origin.name)
    network: nn.Module = models.get_model(origin.name, weights=None, **torchvision_arguments(origin))
    if origin.head == "drop":
        parent, _, child = last_layer(network).rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Identity())
    return network


def torchvision_arguments(origin: Origin) -> dict[str, Any]:
    """What some networks must be given: the size of their pictures, and to have one output."""
    if origin.name.startswith("vit_"):
        return {"image_size": origin.size}
    if origin.name.startswith("maxvit"):
        return {"input_size": (origin.size, origin.size)}
    if origin.name in ("googlenet", "inception_v3"):  # torchvision's weights of them want the pictures changed
        return {"aux_logits": False, "init_weights": True, "transform_input": True}
    return {}


def last_layer(network: nn.Module) -> str:
    """The name of the layer that gives the classes."""
    return [
        name
        for name, module in network.named_modules()
        if name.partition(".")[0] in CLASSIFIERS and isinstance(module, (nn.Linear, nn.Conv2d))
    ][-1]


def torchvision_heads(origin: Origin, network: nn.Module) -> tuple[str, ...]:
    """The classifier's last layer, where it was dropped, and the outputs that only training has."""
    dropped = [name for name, module in network.named_modules() if isinstance(module, nn.Identity)]
    return *(name for name in dropped if name.partition(".")[0] in CLASSIFIERS), "AuxLogits", "aux1", "aux2"


def torchvision_adapted(origin: Origin, network: nn.Module, content: Any) -> Any:
    """The position embedding of a vision transformer for another size."""
    if not isinstance(network, models.VisionTransformer) or "encoder.pos_embedding" not in content:
        return content
    return interpolate_embeddings(origin.size, network.patch_size, dict(content))
