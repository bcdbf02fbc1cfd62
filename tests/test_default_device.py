"""`torch.set_default_device`: milr's own tensors stay on the CPU, the network and the decision run as the user said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import milr

IMAGES, LABELS = torch.randn(24, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2
SHORT = milr.FitSettings(steps=2, critic=milr.CriticSettings(steps=2))


class Recording(nn.Module):
    """Notes where torch makes tensors while it runs: [K, 3, 16, 16] -> [K, 2]."""

    seen: ClassVar[set[str]] = set()  # what a network itself keeps is put back

    def __init__(self) -> None:
        super().__init__()
        self.body, self.pool = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU()), nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(8, 2)
        self.seen.clear()

    def forward(self, images: Tensor) -> Tensor:
        self.seen.add(torch.get_default_device().type)
        return self.head(self.pool(self.body(images)).flatten(1))


@pytest.fixture
def default_of_meta() -> Iterator[None]:
    """A device on which nothing can be computed stands for the user's GPU."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def fitted(network: nn.Module, given: Any, decision: Any = "classes") -> milr.MILR:
    return milr.MILR(network).fit(given, decision, settings=SHORT, progress=False)


def test_a_default_device_changes_nothing(tmp_path: Path) -> None:
    network, loader = Recording(), DataLoader(TensorDataset(IMAGES, LABELS), 8)
    expected = fitted(network, loader)(IMAGES[:4])
    network.seen.clear()
    torch.set_default_device("meta")
    try:
        explainer = fitted(network, loader)
        found = explainer(IMAGES[:4])
        explainer.save(tmp_path / "milr.pt")
        loaded = milr.load(tmp_path / "milr.pt", network)(IMAGES[:4])
        assert milr.layers(network, IMAGES[:2])
        found[1:].plot(IMAGES[1:4])
        explainer.attribute(IMAGES[:2], target=[0, 1], refine=1)
        for decision in ("prototypes", "pairs"):
            fitted(network, loader, decision)
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)
    assert torch.equal(found.total, expected.total) and torch.equal(loaded.decision, expected.decision)
    assert network.seen == {"meta"}


@pytest.mark.usefixtures("default_of_meta")
def test_functions_of_ones_own_run_where_the_user_said() -> None:
    seen: dict[str, str] = {}
    with torch.device("cpu"):
        network = Recording()

    def note(what: str, given: Any) -> Any:
        seen[what] = torch.get_default_device().type
        return given

    def decide(item: Any) -> milr.Batch:
        return note("batch", milr.Batch(item[0], lambda output: note("answers", (output, item[1]))))

    functions = {"read": lambda z: note("read", z.flatten(1)), "output": lambda given: note("output", given)}
    explainer = milr.MILR(network, "body", "pool", **functions)
    explainer.fit(DataLoader(TensorDataset(IMAGES, LABELS), 8), decide, settings=SHORT, progress=False)
    explainer(IMAGES[:2], refine=1, target=lambda output: note("target", output.sum(1)))
    assert seen == dict.fromkeys(("batch", "answers", "read", "output", "target"), "meta")
