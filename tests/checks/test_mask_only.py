"""What a mask tells by its shape: a label that is written into it is read, wherever it stands, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from milr.checks.mask_only import enough_of_each, joined
from milr.checks.random_shapes import random_twins, smoothness
from milr.checks.shape_reader import FOLDS, centred, folds, hits, map_features
from milr.data.pictures import Pictures
from milr.data.records import Record
from milr.errors import MilrError

CLASSES, EACH, SIDE = 4, 20, 8
LABELS = torch.arange(CLASSES).repeat(EACH)


def masks() -> Tensor:
    """Smooth masks that know no class."""
    generator = torch.Generator().manual_seed(0)
    return random_twins(torch.rand(len(LABELS), SIDE, SIDE, generator=generator), range(len(LABELS)), 0).sigmoid()


def written(seed: int) -> Tensor:
    """Masks with a bar somewhere: across, down, or one of the two diagonals, as the class has it."""
    generator = torch.Generator().manual_seed(seed)
    bars = torch.zeros(CLASSES, 3, 3)
    bars[0, 1], bars[1, :, 1] = 1, 1
    bars[2], bars[3] = torch.eye(3), torch.eye(3).flip(0)
    maps = 0.05 * torch.rand(len(LABELS), SIDE, SIDE, generator=generator)
    for map, label in zip(maps, LABELS.tolist(), strict=True):
        top, left = torch.randint(SIDE - 2, (2,), generator=generator).tolist()
        map[top : top + 3, left : left + 3] += 20 * bars[label]
    return maps


def share_told(maps: Tensor) -> float:
    return float(hits(map_features(maps), LABELS, 0).mean())


def test_a_label_in_the_shape_is_read_wherever_it_stands_and_chance_is_all_of_a_mask_without_one() -> None:
    assert share_told(written(0)) > 0.9
    assert share_told(masks()) < 1 / CLASSES + 0.12


def test_every_picture_is_told_once_by_what_was_fitted_to_others() -> None:
    fold = folds(LABELS, 3)
    for label in range(CLASSES):
        assert fold[label == LABELS].unique(return_counts=True)[1].tolist() == [EACH // FOLDS] * FOLDS
    assert not torch.equal(fold, folds(LABELS, 4))


def test_a_map_in_the_middle_is_the_same_from_everywhere() -> None:
    shape = torch.zeros(1, 9, 9)
    shape[0, 1:4, 1], shape[0, 3, 2] = 1, 2
    moved = torch.cat([shape, shape.roll((3, 4), (1, 2)), 5 + shape.roll((4, 2), (1, 2))])
    middle = centred(moved)
    assert torch.equal(middle[0], middle[1]) and torch.equal(middle[0] + 5, middle[2])


def test_a_twin_has_the_values_and_the_smoothness_and_forgets_the_shape() -> None:
    generator = torch.Generator().manual_seed(5)
    rough = torch.rand(30, 16, 16, generator=generator)
    from_rough = random_twins(rough, range(30), 0)
    smooth = torch.nn.functional.avg_pool2d(torch.rand(30, 1, 18, 18, generator=generator), 3, 1)[:, 0]
    from_smooth = random_twins(smooth, range(30), 0)
    for maps, twins in ((rough, from_rough), (smooth, from_smooth)):
        assert torch.equal(maps.flatten(1).sort(1).values, twins.flatten(1).sort(1).values)
        assert abs(smoothness(maps) - smoothness(twins)) < 0.1
    assert smoothness(from_smooth) > smoothness(from_rough) + 0.3
    assert share_told(random_twins(written(0), range(len(LABELS)), 0)) < 1 / CLASSES + 0.12
    assert share_told(random_twins(masks(), LABELS.tolist(), 0)) > 0.9  # one shape for each class


def test_classes_without_a_picture_for_each_fold_are_left_out_and_one_class_is_refused() -> None:
    labels = torch.tensor([3] * 5 + [1] * 4 + [2] * 6)
    images = torch.arange(15, dtype=torch.uint8).view(15, 1, 1, 1)
    records = tuple(Record(number, Path(str(number)), int(label), "") for number, label in enumerate(labels))
    kept = enough_of_each(
        joined([Pictures(images[:7], labels[:7], records[:7]), Pictures(images[7:], labels[7:], records[7:])])
    )
    assert kept.labels.tolist() == [3] * 5 + [2] * 6 and kept.images.flatten().tolist() == [*range(5), *range(9, 15)]
    assert [record.image_id for record in kept.records] == kept.images.flatten().tolist()
    with pytest.raises(MilrError, match="needs 2 classes of 5 pictures.* of the 2 classes .* 1 have as many"):
        enough_of_each(Pictures(images[:9], labels[:9], records[:9]))


def test_maps_that_are_constant_have_constant_twins() -> None:
    assert torch.equal(random_twins(torch.ones(2, 4, 4), [0, 1], 0), torch.ones(2, 4, 4))
