"""Networks of others, by source and name: what pictures they take, how they are built, and their own weights.

A row for each source, whose package is imported when a network of it is asked for. All networks are taken without their
classifier, as their authors do that, unless it is wanted.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from inspect import signature
from typing import Any

from torch import Tensor, nn
from torchvision import models
from torchvision.models.vision_transformer import interpolate_embeddings

from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError
from milr.networks.weights import choose_weights
from milr.text import first_line

SIDE = 224  # pixels, where nobody says otherwise
CLASSIFIERS = ("fc", "classifier", "head", "heads")  # the last of torchvision's modules


@dataclass(frozen=True)
class Origin:
    """Where a network comes from, all that it takes to build it again without one's network, and its pictures."""

    name: str
    source: str
    size: int  # S, pixels
    normalisation: Normalisation = IMAGENET
    head: str = "drop"
    config: str = ""  # of transformers: its configuration, JSON


@dataclass(frozen=True)
class Source:
    """A row of the table. Errors of its functions: MilrError for a name that there is not, or a package."""

    pictures: Callable[[str], tuple[int, Normalisation]]  # name -> the side and the statistics it was trained with
    build: Callable[[Origin], nn.Module]  # with random weights
    pretrained: Callable[[Origin], Mapping[str, Tensor]]  # the source's own weights
    adapt: Callable[[Origin, nn.Module, Any], Any] = lambda origin, network, content: content  # to another size
    heads: Callable[[Origin, nn.Module], tuple[str, ...]] = (
        lambda origin, network: ()
    )  # modules whose weights a file may have too many
    config: Callable[[str], str] = lambda name: ""  # name -> Origin.config


def no_such(source: str, name: str, names: Iterable[str]) -> MilrError:
    """The error for a name that a source does not have, with the nearest ones."""
    near = get_close_matches(name, list(names), n=3, cutoff=0.4)
    end = f": did you mean {' or '.join(near)}?" if near else ""
    return MilrError(f"backbone.name={name}: {source} has no such network{end}")


def package_of(source: str) -> Any:
    """The package of a source. MilrError that names the extra where it is not installed."""
    try:
        return import_module(source)
    except ImportError as error:
        raise MilrError(f"backbone={source} needs a package: pip install 'milr[{source}]'") from error


# --- timm


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


# --- torchvision


def torchvision_weights(name: str) -> Any:
    """The newest of torchvision's weights of a network."""
    if name not in (names := models.list_models(module=models)):
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
    """What some networks must be told: the size of their pictures, and to have one output."""
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


# --- transformers


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


# --- one's own


def imported(name: str) -> Callable[[], Any]:
    """The function that "package.module:function" names, of a package that is installed or lies in this folder."""
    module, colon, function = name.partition(":")
    if not colon or not module or not function:
        raise MilrError(f"backbone.name={name}: backbone=import takes package.module:function")
    try:
        with this_folder():
            made = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise MilrError(f"backbone.name={name} cannot be imported: {first_line(error)}") from error
    try:
        signature(made).bind()
    except ValueError:  # built in, without a signature
        return made
    except TypeError as error:  # no function, or one that wants arguments
        what = f"is no function that gives a network when it is called without arguments ({first_line(error)})"
        raise MilrError(f"backbone.name={name} {what}") from error
    return made


@contextmanager
def this_folder() -> Any:
    """Modules of the folder in which the command is typed are found too, after all others."""
    sys.path.append(".")
    try:
        yield
    finally:
        sys.path.remove(".")


def imported_pictures(name: str) -> tuple[int, Normalisation]:
    """What most networks take: the function says nothing of it."""
    imported(name)
    return SIDE, IMAGENET


def imported_network(origin: Origin) -> nn.Module:
    """What the function gives."""
    network = imported(origin.name)()
    if not isinstance(network, nn.Module):
        raise MilrError(f"backbone.name={origin.name} gives a {type(network).__name__}, no torch.nn.Module")
    return network


def no_pretrained(origin: Origin) -> Mapping[str, Tensor]:
    """There are none."""
    raise MilrError("backbone.weights=pretrained: an imported function gives its own weights, leave it out")


SOURCES = {
    "timm": Source(
        timm_pictures,
        timm_network,
        lambda origin: timm_network(origin, pretrained=True).state_dict(),
        timm_adapted,
        timm_heads,
    ),
    "torchvision": Source(
        torchvision_pictures,
        torchvision_network,
        lambda origin: torchvision_weights(origin.name).get_state_dict(progress=True),
        torchvision_adapted,
        torchvision_heads,
    ),
    "transformers": Source(
        transformers_pictures,
        transformers_network,
        transformers_pretrained,
        transformers_adapted,
        lambda origin, network: ("pooler",),
        lambda name: json.dumps(transformers_config(name).to_dict(), default=str),
    ),
    "import": Source(imported_pictures, imported_network, no_pretrained),
}
