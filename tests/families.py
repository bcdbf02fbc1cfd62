"""Small networks of families that are in no package, and what they are called with."""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

LAYERS = {"depth": 3, "embed_dim": 32, "num_heads": 2}  # of timm's vision transformers
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


def words() -> Tensor:
    return torch.randint(1, 20, (IMAGES, 10))


def sentences() -> dict[str, Tensor]:
    mask = torch.ones(IMAGES, 10, dtype=torch.long)
    mask[:, 8:] = 0
    return {"input_ids": words(), "attention_mask": mask}
