"""The four-block network of the first few-shot papers (Vinyals et al. 2016, Snell et al. 2017)."""

from __future__ import annotations

from torch import Tensor, nn


class Conv4(nn.Module):
    """[K, 3, S, S] -> [K, 1600]: four blocks of 64 channels, each halving the side.

    The pooling to 5x5 changes nothing at 84 px, where the last block gives 5x5 already, and makes other sizes possible.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = block(3)
        self.layer2 = block(64)
        self.layer3 = block(64)
        self.layer4 = block(64)
        self.avgpool = nn.AdaptiveAvgPool2d(5)

    def forward(self, images: Tensor) -> Tensor:
        """Representations of images [K, 3, S, S], one row each."""
        features = self.layer4(self.layer3(self.layer2(self.layer1(images))))
        pooled: Tensor = self.avgpool(features)
        return pooled.flatten(1)


def block(channels: int) -> nn.Sequential:
    """3x3 convolution to 64 channels, batch norm, ReLU, 2x2 max-pool."""
    return nn.Sequential(nn.Conv2d(channels, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2))
