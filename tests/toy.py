"""A small world with a known cause: grey noise with one coloured square, whose colour alone is the class."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from milr.checks.estimators import features_of
from milr.explanation.features import Features
from milr.explanation.fitting import Batch, fit
from milr.explanation.milr import MILR
from milr.explanation.settings import CriticSettings, FitSettings, MilrSettings

SIZE, SQUARE, CLASSES = 32, 8, 4
SHORT = CriticSettings(steps=6, images=8, places=8, validate_every=3)  # a critic that is hardly fitted
COLOURS = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [1, 1, -1]])


class Network(nn.Module):
    """Three convolutional blocks, pooled."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = nn.Sequential(nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.layer2 = nn.Sequential(nn.Conv2d(16, 32, 3, stride=2, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(32, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.avgpool(self.layer2(self.layer1(images))).flatten(1))


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Images [count, 3, 32, 32], labels [count], and masks of the squares [count, 32, 32]."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
    labels = torch.randint(CLASSES, (count,), generator=generator)
    corners = torch.randint(SIZE - SQUARE + 1, (count, 2), generator=generator)
    masks = torch.zeros(count, SIZE, SIZE)
    for image, mask, label, (top, left) in zip(images, masks, labels, corners.tolist(), strict=True):
        image[:, top : top + SQUARE, left : left + SQUARE] += COLOURS[label][:, None, None]
        mask[top : top + SQUARE, left : left + SQUARE] = 1
    return images, labels, masks


@cache
def trained_network() -> Network:
    """A classifier of the squares' colours, at nearly 100 %."""
    with torch.random.fork_rng(devices=[]):  # whichever test comes first, its numbers are its own
        torch.manual_seed(0)
        network = Network()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
    for step in range(80):
        images, labels, _ = pictures(64, seed=step)
        loss = cross_entropy(network(images), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return network.eval()


def batch(step: int) -> Batch:
    """The fit's batch of a step."""
    images, labels, _ = pictures(16, seed=1000 + step)
    return Batch(images, lambda output: (output, labels))


def prepared(settings: MilrSettings | None = None, network: nn.Module | None = None, fitted: bool = True) -> MILR:
    """An explainer on the trained network that has seen its training images; `fitted` lets it give maps unfitted."""
    images = pictures(64, seed=0)[0]
    explainer = MILR(network or trained_network(), "layer1", "avgpool", images[:2], settings)
    explainer.prepare(images.split(32), len(images))
    explainer.fitted = fitted
    return explainer


@cache
def fitted() -> MILR:
    """An explainer whose decision map lies on the squares. To be looked at; copy.deepcopy gives one to be changed."""
    explainer = prepared(MilrSettings(beta=0.48))
    fit(explainer, batch, FitSettings(steps=150, learning_rate=1e-2, critic=CriticSettings(steps=200)))
    return explainer


@cache
def features() -> tuple[Features, Features]:
    """What the layers give for 512 training and 256 held-out pictures."""
    explainer = prepared()
    train, held_out = pictures(512, seed=20)[0], pictures(256, seed=21)[0]
    return features_of(explainer, train.split(64), len(train)), features_of(
        explainer, held_out.split(64), len(held_out)
    )
