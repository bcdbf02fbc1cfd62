"""Networks in which the images of a batch touch each other, which noise in the example's range need not show."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import milr
from milr.errors import MilrError


class Scaling(nn.Module):
    """A small network that does something to the batch before its first layer, or between its two layers."""

    def __init__(self, before: Callable[[Tensor], Tensor], between: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.before, self.between = before, between or (lambda given: given)
        self.layer1, self.layer2, self.fc = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, 2, 1), nn.Linear(8, 4)
        self.pool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.between(self.layer1(self.before(images)).relu())
        return self.fc(self.pool(self.layer2(features).relu()).flatten(1))


@pytest.mark.parametrize(
    "before",
    [
        lambda images: images / images.max(),
        lambda images: (images - images.min()) / (images.max() - images.min()),
        lambda images: images / images.amax((0, 2, 3), keepdim=True),
    ],
)
def test_images_scaled_by_the_largest_value_of_their_batch_are_noticed(before: Callable[[Tensor], Tensor]) -> None:
    images = torch.rand(4, 3, 32, 32)
    with pytest.raises(MilrError, match="depends on the other images of the batch: .* before 'layer1'"):
        milr.MILR(Scaling(before), "layer1", "pool", example=images)
    each = Scaling(lambda images: images / images.amax((1, 2, 3), keepdim=True))  # of an image its own
    assert milr.MILR(each, "layer1", "pool", example=images).layers.grid == (8, 8)


def test_room_for_some_of_a_batch_is_noticed_with_the_first_real_one() -> None:
    """As of experts that take so many images of a batch each: the probes are four images at most."""

    def first_six(features: Tensor) -> Tensor:
        return features * (torch.arange(len(features)) < 6)[:, None, None, None]

    images = torch.rand(16, 3, 32, 32)
    explainer = milr.MILR(Scaling(lambda given: given, first_six), "layer1", "pool", example=images)
    explainer.prepare(images.split(4), 16)
    explainer.fitted = True
    assert explainer.maps(images[:4]).total.shape == (4, 8, 8)
    larger = milr.Batch(images[:8], lambda output: (output, torch.arange(8) % 4))
    for use in (
        lambda: explainer.maps(images[:8]),
        lambda: milr.fit(explainer, lambda step: larger, milr.FitSettings(steps=1)),
        lambda: explainer.prepare(images.split(8), 16),
    ):
        with pytest.raises(MilrError, match=r"depends on the other images of the batch: .* before 'layer2'"):
            use()


class SortedByLength(nn.Module):
    """A network of words that sorts its texts by their lengths within, as packed sequences once had to be."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.gru, self.fc = nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True), nn.Linear(8, 4)

    def forward(self, words: Tensor, lengths: Tensor) -> Tensor:
        order = lengths.argsort(descending=True)
        seen, _ = self.gru(self.embed(words[order]))
        rows = torch.arange(len(words))
        return self.fc(seen[rows, lengths[order] - 1])[order.argsort()]


def test_texts_that_are_sorted_within_are_noticed_with_the_first_batch() -> None:
    words, lengths = torch.randint(0, 20, (4, 9)), torch.tensor([3, 9, 5, 6])
    explainer = milr.MILR(SortedByLength(), "embed", "gru", example={"words": words, "lengths": lengths})
    with pytest.raises(MilrError, match="depends on the other images of the batch: 'embed' .* texts sorted by length"):
        explainer.prepare([{"words": words, "lengths": lengths}])
