"""Networks of others: without their classifier, with their own pictures and weights, and back from a checkpoint."""

import sys
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest
import timm
import torch
import torchvision
import transformers
from torch import nn

from milr.backbones.backbones import build_backbone, build_network, origin_of, pictures_taken
from milr.backbones.protonet import PrototypicalNetwork
from milr.backbones.settings import BackboneSettings
from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError
from milr.networks.settings import MetricSettings

HALF = Normalisation((0.5,) * 3, (0.5,) * 3)
VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
TEXT = {**VISION, "vocab_size": 20, "bos_token_id": 0, "eos_token_id": 1}
IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def saved(network: nn.Module, tmp_path: Path) -> str:
    """A file of the weights as they are published: of the whole classifier, in half precision, with a prefix."""
    state = {f"model.{key}": value.half() for key, value in network.state_dict().items() if value.is_floating_point()}
    torch.save({"state_dict": state}, tmp_path / "weights.pth")
    network.load_state_dict({key.removeprefix("model."): value for key, value in state.items()}, strict=False)
    return str(tmp_path / "weights.pth")


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet"])
def test_a_timm_network_gives_what_timm_calls_its_embedding(name: str, tmp_path: Path) -> None:
    whole = timm.create_model(name)
    network = build_backbone(name, saved(whole, tmp_path), "timm", 64).eval()
    with torch.no_grad():
        wanted = whole.eval().forward_head(whole.forward_features(IMAGES), pre_logits=True)
        assert torch.allclose(network(IMAGES), wanted, atol=1e-5)


def test_weights_of_a_timm_transformer_for_another_size_go_through_timms_own_filter(tmp_path: Path) -> None:
    whole = timm.create_model("test_vit")
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    network = build_backbone("test_vit", str(tmp_path / "weights.pth"), "timm", 64).eval()
    same_size = timm.create_model("test_vit", num_classes=0, img_size=64)
    same_size.load_state_dict(timm.models.vision_transformer.checkpoint_filter_fn(whole.state_dict(), same_size), False)
    with torch.no_grad():
        assert torch.equal(network(IMAGES), same_size.eval()(IMAGES))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v3_small", "squeezenet1_1", "shufflenet_v2_x0_5", "mnasnet0_5"])
def test_a_torchvision_network_gives_what_its_last_layer_takes(name: str, tmp_path: Path) -> None:
    whole = torchvision.models.get_model(name, weights=None).eval()
    torch.save(whole.state_dict(), tmp_path / "weights.pth")
    network = build_backbone(name, str(tmp_path / "weights.pth"), "torchvision", 64).eval()
    kept = build_network(origin_of(BackboneSettings(name, source="torchvision", head="keep"), 64))
    taken: list[Any] = []
    *_, last = (module for module in whole.modules() if isinstance(module, (nn.Linear, nn.Conv2d)))
    last.register_forward_hook(lambda module, inputs, output: taken.append(inputs[0]))
    with torch.no_grad():
        whole(IMAGES)
        pooled = taken[0] if taken[0].ndim == 2 else taken[0].relu().mean((2, 3))  # squeezenet: a ReLU, then the mean
        assert torch.allclose(network(IMAGES), pooled, atol=1e-5) and kept(IMAGES).shape == (2, 1000)


def folder_of(model: Any, folder: Path) -> str:
    model.save_pretrained(folder)
    size = {"height": 32, "width": 32}
    transformers.ViTImageProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3).save_pretrained(folder)
    return str(folder)


@pytest.mark.slow
def test_a_folder_of_transformers_gives_the_class_token_and_is_not_needed_again(tmp_path: Path) -> None:
    config = transformers.ViTConfig(**VISION, image_size=32, patch_size=8)
    model = transformers.ViTForImageClassification(config).eval()
    settings = BackboneSettings(folder_of(model, tmp_path / "vit"), source="transformers")
    origin = origin_of(settings)
    assert (origin.size, origin.normalisation) == (32, HALF)
    network = build_network(origin, "pretrained")
    logits = build_network(origin_of(replace(settings, head="keep"), 32), "pretrained").eval()
    state = PrototypicalNetwork(origin, network, MetricSettings(), torch.zeros(16), ()).state()
    rmtree(tmp_path / "vit")
    again = PrototypicalNetwork.from_state(state)
    with torch.no_grad():
        wanted = model.vit(IMAGES[..., :32, :32]).last_hidden_state[:, 0]
        assert torch.equal(again.network(IMAGES[..., :32, :32]), wanted) and again.origin == origin
        assert torch.equal(logits(IMAGES[..., :32, :32]), model(IMAGES[..., :32, :32]).logits)
        larger = model.vit(IMAGES, interpolate_pos_encoding=True).last_hidden_state[:, 0]
        assert torch.equal(again.network(IMAGES), larger)


@pytest.mark.slow
def test_of_two_towers_the_pictures_one_is_taken(tmp_path: Path) -> None:
    config = transformers.CLIPConfig(vision_config={**VISION, "image_size": 32, "patch_size": 8}, text_config=TEXT)
    model = transformers.CLIPModel(config).eval()
    settings = BackboneSettings(folder_of(model, tmp_path / "clip"), source="transformers")
    network = build_network(origin_of(settings), "pretrained").eval()
    with torch.no_grad():
        wanted = model.vision_model(IMAGES[..., :32, :32]).pooler_output
        assert torch.equal(network(IMAGES[..., :32, :32]), wanted)


def test_a_function_of_ones_own_in_this_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_networks.py").write_text(
        "from torch import nn\n"
        "def good(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())\n"
        "def maps(): return nn.Conv2d(3, 4, 3)\n"
        "def number(): return 5\n"
        "def fails(): raise KeyError('no weights')\n"
        "class Two(nn.Sequential):\n"
        "    def forward(self, images): return {'age': super().forward(images), 'kind': images}\n"
        "def two(): return Two(nn.Conv2d(3, 4, 3))\n"
    )
    monkeypatch.chdir(tmp_path)
    assert build_backbone("my_networks:good", source="import", size=64)(IMAGES).shape == (2, 4)
    for name, message in (
        ("maps", r"gives a tensor of shape \[2, 4, 62, 62\]"),
        ("number", "gives a int, no torch.nn.Module"),
        ("nosuch", "has no attribute 'nosuch'"),
        ("fails", r"fails: KeyError: 'no weights' \(my_networks.py, line 5\)"),
        ("two", "gives a dict with age, kind for two pictures.*of several outputs let a function return"),
    ):
        with pytest.raises(MilrError, match=message):
            build_backbone(f"my_networks:{name}", source="import", size=64)
    (tmp_path / "broken_networks.py").write_text("from torch import nn\ndef good(:\n")
    (tmp_path / "failing_networks.py").write_text("raise OSError('no disk')\n")
    for module, message in (("broken", "cannot be imported: SyntaxError"), ("failing", "OSError: no disk .*line 1")):
        with pytest.raises(MilrError, match=message):
            build_backbone(f"{module}_networks:good", source="import", size=64)
    with pytest.raises(MilrError, match="an imported function gives its own weights"):
        build_backbone("my_networks:good", "pretrained", "import", 64)


@pytest.mark.parametrize(
    ("source", "name", "own"),
    [
        ("milr", "conv4", (84, IMAGENET)),
        ("timm", "tf_efficientnet_lite0", (224, HALF)),
        ("timm", "vit_small_patch14_dinov2.lvd142m", (518, IMAGENET)),
        ("torchvision", "densenet121", (224, IMAGENET)),
    ],
)
def test_pictures_are_as_the_network_was_trained_unless_given(
    source: str, name: str, own: tuple[int, Normalisation]
) -> None:
    settings = BackboneSettings(name, source=source)
    assert pictures_taken(settings) == own
    assert pictures_taken(replace(settings, mean=[0.1, 0.2, 0.3]), 96) == (96, replace(own[1], mean=(0.1, 0.2, 0.3)))


@pytest.mark.parametrize(
    ("source", "name", "message"),
    [
        ("timm", "tf_efficientnet_lite", "timm has no such network: did you mean tf_efficientnet_lite"),
        ("timm", "test_vit.nosuch", "timm has no such network: did you mean test_vit"),
        ("torchvision", "resnet51", "torchvision has no such network: did you mean resnet50 or"),
        ("torchvision", "fasterrcnn_resnet50_fpn", "no classifier of torchvision's, but gives boxes, masks or videos"),
        ("import", "torch.nn", "takes package.module:function"),
        ("import", "json:loads", "is no function that gives a network when it is called without arguments .*'s'"),
        ("import", "json:__version__", "is no function that gives a network"),
        ("import", "no_such_package:f", "cannot be imported: No module named 'no_such_package'"),
    ],
)
def test_names_that_are_none_are_told_with_the_nearest(source: str, name: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        pictures_taken(BackboneSettings(name, source=source))


def test_a_size_that_cannot_be_and_statistics_that_are_none_are_one_line() -> None:
    with pytest.raises(MilrError, match=r"test_vit does not take pictures of 50 px \(dataset.size\): Input height"):
        build_backbone("test_vit", source="timm", size=50)
    with pytest.raises(MilrError, match=r"three numbers each, of red, green and blue"):
        pictures_taken(BackboneSettings(mean=[0.5]))
    with pytest.raises(MilrError, match="backbone=conv4 has no classifier to keep"):
        build_network(origin_of(BackboneSettings(head="keep")))


def test_what_is_not_installed_or_not_to_be_fetched_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*words: object, **named: object) -> None:
        raise OSError("no route to host\nand more")

    monkeypatch.setattr(transformers.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(MilrError, match=r"not to be had from its hub \(no route to host\)"):
        pictures_taken(BackboneSettings("google/nosuch", source="transformers"))
    origin = origin_of(BackboneSettings("test_resnet", source="timm"), 64)
    monkeypatch.setattr(timm.models._builder, "load_pretrained", refuse)
    with pytest.raises(MilrError, match=r"cannot be fetched from timm \(no route to host\): name a file"):
        build_network(origin, "pretrained")
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MilrError, match=r"needs a package: pip install 'milr\[timm\]'"):
        pictures_taken(BackboneSettings("resnet18", source="timm"))


def test_the_vision_transformer_at_hand_takes_another_size(shared: Path) -> None:
    weights = str(shared / "weights" / "vit-small-patch14-dinov2.pth")
    network = build_backbone("vit_small_patch14_dinov2", weights, "timm", 56).eval()
    with torch.no_grad():
        assert network(IMAGES[..., :56, :56]).shape == (2, 384)
