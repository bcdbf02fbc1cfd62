"""Twenty families of networks, small and with random weights: explained as they are, both layers left to the guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import transformers
from families import IMAGES, LAYERS, Recurrent, Siamese, Text, UNet, sentences, words
from torch import Tensor, nn
from torchvision.models import DenseNet, SwinTransformer, VisionTransformer, regnet_x_400mf, resnet18
from torchvision.models.vgg import make_layers

import milr
from milr.networks.freezing import weights_sha256
from milr.networks.inputs import Inputs, call, count, split, take
from milr.networks.wrappers import uncompiled

VIT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 4}


def images(size: int = 32) -> Tensor:
    return torch.randn(IMAGES, 3, size, size)


def timm_vit(name: str) -> nn.Module:
    return timm.create_model(name, img_size=32, patch_size=4, **LAYERS)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Inputs]]] = {
    "ResNet": (lambda: resnet18(num_classes=4), images),
    "ConvNeXt": (lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1)), images),
    "EfficientNet": (lambda: timm.create_model("tf_efficientnet_lite0"), images),
    "MobileNetV3": (lambda: timm.create_model("mobilenetv3_small_050"), images),
    "DenseNet": (lambda: DenseNet(8, (2, 2, 2, 2), 16), images),
    "VGG": (
        lambda: nn.Sequential(make_layers([8, "M", 16, 16, "M", 32, "M"]), nn.Flatten(), nn.Linear(512, 4)),
        images,
    ),
    "RegNet": (lambda: regnet_x_400mf(num_classes=4), images),
    "Swin": (lambda: SwinTransformer([2, 2], 16, [1, 1, 2], [1, 2, 4], [4, 4]), images),
    "MaxViT": (
        lambda: timm.create_model("maxvit_rmlp_pico_rw_256", img_size=64, depths=(1, 1, 1, 1)),
        lambda: images(64),
    ),
    "ViT": (lambda: VisionTransformer(32, 4, 3, 2, 32, 64, num_classes=4), images),
    "DeiT": (lambda: timm_vit("deit_tiny_distilled_patch16_224"), images),
    "DINOv2 with registers": (lambda: timm_vit("vit_small_patch14_reg4_dinov2"), images),
    "MobileViT": (lambda: timm.create_model("mobilevit_xxs"), lambda: images(64)),
    "CLIP": (lambda: transformers.CLIPVisionModel(transformers.CLIPVisionConfig(intermediate_size=64, **VIT)), images),
    "SigLIP": (
        lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(intermediate_size=64, **VIT)),
        images,
    ),
    "Dinov2Model": (lambda: transformers.Dinov2Model(transformers.Dinov2Config(**VIT)), images),
    "GRU": (Recurrent, words),
    "text transformer": (Text, sentences),
    "U-Net": (UNet, images),
    "Siamese": (Siamese, lambda: (images(), images())),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_is_explained_as_it_is(family: str) -> None:
    build, draw = FAMILIES[family]
    network, inputs = build().train(), draw()
    before = weights_sha256(network)
    explainer = milr.MILR(network, example=take(inputs, slice(0, 2)))
    explainer.prepare(split(inputs, 4), IMAGES)
    labels = torch.arange(IMAGES) % 2
    batch = milr.Batch(inputs, lambda output: (output[:, :2], labels))
    milr.fit(explainer, lambda step: batch, milr.FitSettings(steps=2, critic=milr.CriticSettings(steps=2)))
    maps = explainer.maps(inputs)
    assert torch.equal(explainer.decision_map(inputs), maps.decision)

    layers = explainer.layers
    size = layers.grid[1:] if layers.sequence else layers.grid
    assert maps.decision.shape == (IMAGES, *size) and layers.grid[0] * layers.grid[1] >= 10
    assert layers.sequence == (family in ("GRU", "text transformer"))
    loaded = milr.MILR.load(network, explainer.state(), take(inputs, slice(0, 1)))
    assert loaded.layers.choice == layers.choice and loaded.layers.stages == layers.stages
    again = loaded.maps(inputs)
    for kind in ("total", "decision", "redundant"):
        assert torch.equal(getattr(again, kind), getattr(maps, kind))
    assert weights_sha256(network) == before and all(module.training for module in network.modules())
    with torch.no_grad(), uncompiled():
        given: Any = call(network.eval(), inputs)
    expected = given if isinstance(given, Tensor) else given[layers.choice.output]
    torch.testing.assert_close(maps.output, expected.flatten(1), rtol=1e-4, atol=1e-5)
    assert count(inputs) == IMAGES
