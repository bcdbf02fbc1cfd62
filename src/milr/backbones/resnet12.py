"""The twelve-layer residual network of few-shot papers (Oreshkin et al. 2018, TADAM; widths of Lee et al. 2019)."""

from __future__ import annotations

from torch import Tensor, nn


class ResNet12(nn.Module):
    """[K, 3, S, S] -> [K, 640]: four residual blocks of three convolutions, each halving the side. No DropBlock."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = Block(3, 64)
        self.layer2 = Block(64, 160)
        self.layer3 = Block(160, 320)
        self.layer4 = Block(320, 640)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """Representations of images [K, 3, S, S], one row each."""
        features = self.layer4(self.layer3(self.layer2(self.layer1(images))))
        pooled: Tensor = self.avgpool(features)
        return pooled.flatten(1)


class Block(nn.Module):
    """Three 3x3 convolutions beside a 1x1 shortcut, then a 2x2 max-pool."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(3):
            layers += [nn.Conv2d(after if number else before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
            layers += [nn.LeakyReLU(0.1)] if number < 2 else []
        self.convolutions = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after))
        self.end = nn.Sequential(nn.LeakyReLU(0.1), nn.MaxPool2d(2))

    def forward(self, features: Tensor) -> Tensor:
        out: Tensor = self.end(self.convolutions(features) + self.shortcut(features))
        return out
