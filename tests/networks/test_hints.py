"""What is said of networks that cannot be read, so that their users can change it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import milr
from milr.errors import MilrError


class Series(nn.Module):
    """Times [K, T, 4] through a recurrent layer, whose last state decides; before it `first`."""

    def __init__(self, first: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.rnn, self.fc = nn.GRU(4, 8, batch_first=True), nn.Linear(8, 3)
        self.first = first

    def forward(self, times: Tensor) -> Tensor:
        return self.fc(self.rnn(self.first(times) if self.first else times)[1][0])


def test_of_a_recurrent_layers_last_state_the_way_out_is_said() -> None:
    times = torch.randn(4, 12, 4)
    with pytest.raises(MilrError, match=r"an nn\.Identity\(\) put before that layer"):
        milr.MILR(Series(), example=times)
    layers = milr.MILR(Series(nn.Identity()), example=times).layers
    assert (layers.local, layers.z) == ("first", "fc.input")


class Folds(nn.Module):
    """Pictures that are run in another number of rows: each channel alone, one by one, eight; or cut at random."""

    def __init__(self, how: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.how = how
        self.conv = nn.Conv2d(1 if how == "channels" else 3, 8, 4, 4)
        self.fc = nn.Linear(24 if how == "channels" else 8, 4)

    def body(self, images: Tensor) -> Tensor:
        return self.conv(images).relu().mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        if self.how == "channels":
            return self.fc(self.body(images.reshape(-1, 1, 32, 32)).view(len(images), -1))
        if self.how == "parts":
            return torch.cat([self.fc(self.body(one[None])) for one in images])
        if self.how == "cut":
            images = images[:, :, int(torch.randint(0, 16, ())) :, :]
            return self.fc(self.body(images[:, :, torch.randperm(images.shape[2])]))
        assert len(images) == 8, "eight at a time"
        return self.fc(self.body(images))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("channels", r"its layers give 6 rows for 2 .*, as of crops, flips or channels of each"),
        ("parts", r"its layers give 1 row for 2 .*, one part of the batch after the other"),
        ("cut", "two results for the same images: .* is random"),
        ("eight", "fails on .*eight at a time; it takes 8 at a time, and milr gives it other numbers"),
    ],
)
def test_a_network_of_other_rows_is_called_that(how: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        milr.MILR(Folds(how), example=torch.rand(8, 3, 32, 32))


class Attends(nn.Module):
    """Embeddings that look at all others of the batch, and differ little in noise."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.pool, self.fc = nn.Conv2d(3, 8, 4, 4), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        z = self.pool(self.conv(images).relu()).flatten(1)
        return self.fc(z + 0.005 * (z @ z.T).softmax(1) @ z)


def test_a_faint_look_at_the_batch_is_seen_in_real_images() -> None:
    noise: Any = torch.rand(8, 3, 32, 32)
    explainer = milr.MILR(Attends(), "conv", "pool", example=noise)
    with pytest.raises(MilrError, match="depends on the other images of the batch"):
        explainer.prepare([noise * torch.arange(8)[:, None, None, None] / 8])
