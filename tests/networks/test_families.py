"""Twenty families of networks, small and with random weights: explained as they are, both layers left to the guess."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import timm
import torch
import transformers
from torch import Tensor, nn
from torchvision.models import DenseNet, SwinTransformer, VisionTransformer, regnet_x_400mf, resnet18, vgg11

import milr
from milr.networks.freezing import weights_sha256
from milr.networks.inputs import Inputs, call, count, split, take
from milr.networks.wrappers import uncompiled

VIT = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2, "image_size": 32, "patch_size": 4}
LAYERS = {"depth": 3, "embed_dim": 32, "num_heads": 2}
MAXVIT = "maxvit_rmlp_pico_rw_256"
IMAGES = 8


class Recurrent(nn.Module):
    """Words through a GRU."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, words: Tensor) -> Tensor:
        return self.head(self.gru(self.embed(words))[0][:, -1])


class Text(nn.Module):
    """Words through a transformer, some of them masked, in a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 4)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        tokens = self.encoder(self.embed(input_ids), src_key_padding_mask=attention_mask == 0)
        return {"tokens": tokens, "logits": self.head((tokens * attention_mask[:, :, None]).mean(1))}


class UNet(nn.Module):
    """Three resolutions down and up again."""

    def __init__(self) -> None:
        super().__init__()
        sizes = {"down1": (3, 8), "down2": (8, 8), "down3": (8, 16), "up2": (24, 8), "up1": (16, 8)}
        for name, (given, made) in sizes.items():
            self.add_module(name, nn.Sequential(nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU()))
        self.pool, self.larger, self.top = nn.MaxPool2d(2), nn.Upsample(scale_factor=2), nn.Conv2d(8, 2, 1)

    def forward(self, images: Tensor) -> Tensor:
        one = self.down1(images)
        two = self.down2(self.pool(one))
        three = self.down3(self.pool(two))
        two = self.up2(torch.cat([self.larger(three), two], 1))
        return self.top(self.up1(torch.cat([self.larger(two), one], 1)))


class Siamese(nn.Module):
    """Two images through one body."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = timm.create_model("resnet10t", num_classes=8), nn.Linear(8, 2)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        return self.head((self.body(one) - self.body(other)).abs())


def images(size: int = 32) -> Tensor:
    return torch.randn(IMAGES, 3, size, size)


def words() -> Tensor:
    return torch.randint(1, 20, (IMAGES, 10))


def sentences() -> dict[str, Tensor]:
    mask = torch.ones(IMAGES, 10, dtype=torch.long)
    mask[:, 8:] = 0
    return {"input_ids": words(), "attention_mask": mask}


def timm_vit(name: str, size: int = 32, patch: int = 4) -> nn.Module:
    return timm.create_model(name, img_size=size, patch_size=patch, **LAYERS)


FAMILIES: dict[str, tuple[Callable[[], nn.Module], Callable[[], Inputs]]] = {
    "ResNet": (lambda: resnet18(num_classes=4), images),
    "ConvNeXt": (lambda: timm.create_model("convnext_atto", depths=(1, 1, 1, 1)), images),
    "EfficientNet": (lambda: timm.create_model("tf_efficientnet_lite0"), images),
    "MobileNetV3": (lambda: timm.create_model("mobilenetv3_small_050"), images),
    "DenseNet": (lambda: DenseNet(8, (2, 2, 2, 2), 16), images),
    "VGG": (lambda: nn.Sequential(vgg11(init_weights=False).features, nn.Flatten(), nn.Linear(512, 4)), images),
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

    layers = explainer.layers
    assert maps.decision.shape == (IMAGES, *layers.grid) and layers.grid[0] * layers.grid[1] >= 10
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
