"""Features computed once: in memory or on disk the same, half as precise at any size, places by number."""

from __future__ import annotations

import copy
import errno
import math
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from toy import pictures, prepared, trained_network

from milr.errors import MilrError
from milr.explanation.features import GIB, Features, FeatureStore, scale_of, stored
from milr.explanation.milr import MILR
from milr.explanation.settings import InfomaxSettings, MilrSettings

IMAGES = pictures(24, seed=3)[0]
CPU = torch.device("cpu")
ALL = 2 * 16 * 256 * 24 / GIB  # GiB of all places of these images: 16 channels, 16 x 16 places, two bytes each


def collected(memory: float, disk: float, seed: int = 0) -> Features:
    layers = prepared().layers
    store = FeatureStore(layers, len(IMAGES), memory, disk, seed)
    with torch.no_grad():
        for part in IMAGES.split(10):
            store.add(layers.first_pass(part))
    return store.features()


def test_they_are_what_the_layers_give() -> None:
    layers = prepared().layers
    with torch.no_grad():
        first = layers.first_pass(IMAGES)
    features = collected(1, 1)
    sample = features.sample(torch.tensor([17, 2]), torch.tensor([5, 255, 0]), CPU)
    local = first.local.flatten(2).transpose(1, 2)
    assert len(features) == 24 and features.local.shape == (24, 256, 16)
    assert torch.allclose(sample.local, local[[17, 2]][:, [5, 255, 0]], atol=1e-3, rtol=1e-3)
    assert torch.equal(sample.representation, first.representation[[17, 2]])
    assert sample.places.tolist() == [5, 255, 0] and sample.occluded is None and sample.masked is None


def test_past_the_memory_budget_they_lie_on_disk_and_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Any, ...]] = []
    from_file = torch.from_file
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(torch, "from_file", lambda *words, **named: made.append(words) or from_file(*words, **named))
    held = collected(1.01 * ALL, 1)
    assert not made
    on_disk = collected(0.99 * ALL, 1)
    assert len(made) == 1 and made[0][0].startswith(str(tmp_path))
    assert not list(tmp_path.iterdir())  # it has no name: nobody has to clean up after a crash
    assert torch.equal(on_disk.local, held.local) and torch.equal(on_disk.places, held.places)
    assert torch.equal(on_disk.representation, held.representation) and on_disk.scale == held.scale


def test_past_the_disk_budget_they_are_a_sample_of_the_places() -> None:
    whole, some = collected(1, 1), collected(0, 0.25 * ALL)
    assert len(some.places) == 64 == len(set(some.places.tolist())) and some.places.tolist() == sorted(some.places)
    assert torch.equal(some.local, whole.local[:, some.places])
    sample = some.sample(torch.arange(3), torch.tensor([10, 20]), CPU)
    assert torch.equal(sample.places, some.places[[10, 20]])  # their numbers in the layer, not in the sample
    same = whole.sample(torch.arange(3), sample.places, CPU)
    assert torch.equal(same.local, sample.local) and torch.equal(same.places, sample.places)
    assert not torch.equal(collected(0, 0.25 * ALL, seed=1).places, some.places)
    assert len(collected(0, 1e-12).places) == 1  # one at least
    assert len(collected(1, 1e-12).places) == 256  # a memory that is large enough needs no disk


@pytest.mark.parametrize("size", [1e6, 1e4, 1.0, 1e-3, 1e-6])
def test_features_of_any_size_keep_their_digits(size: float) -> None:
    local = size * torch.randn(4, 16, 8, 8)
    scale, places = scale_of(local), torch.tensor([0, 9, 63])
    held = stored(local, places, scale)
    assert held.dtype == torch.float16 and torch.isfinite(held).all() and math.log2(scale) % 1 == 0
    back, exact = held.float() * scale, local.flatten(2)[:, :, places].transpose(1, 2)
    assert ((back - exact).abs() <= 2.0**-11 * exact.abs() + 1e-9 * size).all()
    later = stored(200 * local, places, scale)  # a later batch with larger values than the first, whose scale it gets
    assert torch.isfinite(later).all() and torch.allclose(later.float() * scale, 200 * exact, rtol=1e-3)


def test_features_that_are_all_zero_or_not_finite_have_a_scale() -> None:
    assert math.isfinite(scale_of(torch.zeros(1, 2, 2, 2))) and scale_of(torch.zeros(1, 2, 2, 2)) > 0
    assert scale_of(torch.full((1, 2, 2, 2), math.nan)) == scale_of(torch.full((1, 2, 2, 2), math.inf)) == 1


@pytest.mark.parametrize("size", [1e6, 1e-6])
def test_the_maps_do_not_know_the_features_unit(size: float) -> None:
    """The first block's last BatchNorm by a factor and the next convolution by its inverse: the same network."""
    images = pictures(4, seed=7)[0]
    explainer, other = prepared(), MILR(scaled_network(size), "layer1", "avgpool", images[:2])
    other.prepare(pictures(64, seed=0)[0].split(32), 64)
    other.fitted = True
    assert torch.isfinite(other.modules.bank.local).all()
    assert torch.allclose(other.maps(images).total, explainer.maps(images).total, atol=0.02)
    sample, expected = (
        each.features.draw(8, 8, torch.Generator().manual_seed(0), CPU)  # type: ignore[union-attr]
        for each in (other, explainer)
    )
    assert torch.allclose(sample.local / size, expected.local, rtol=3e-3, atol=1e-3)


def scaled_network(size: float) -> torch.nn.Module:
    network = copy.deepcopy(trained_network())
    with torch.no_grad():
        network.layer1[1].weight.mul_(size)  # type: ignore[operator, union-attr]
        network.layer1[1].bias.mul_(size)  # type: ignore[operator, union-attr]
        network.layer2[0].weight.div_(size)  # type: ignore[operator, union-attr]
    return network


def test_draws_are_of_different_images_at_places_common_to_all() -> None:
    features = collected(1, 1)
    for seed in range(5):
        sample = features.draw(10, 20, torch.Generator().manual_seed(seed), CPU)
        assert sample.local.shape == (10, 20, 16) and len(set(sample.places.tolist())) == 20
        assert len({tuple(row) for row in sample.representation.tolist()}) == 10
    again = features.draw(10, 20, torch.Generator().manual_seed(4), CPU)
    assert torch.equal(again.local, sample.local)
    assert features.draw(1000, 1000, torch.Generator(), CPU).local.shape == (24, 256, 16)  # no more than there are


def test_a_part_is_no_copy_of_the_local_features_and_a_part_of_a_part_is_one_of_the_whole() -> None:
    whole = collected(1, 1)
    part = whole.at(torch.tensor([9, 3, 20, 4]))
    inner = part.at(torch.tensor([2, 0]))
    assert part.local.data_ptr() == inner.local.data_ptr() == whole.local.data_ptr()  # it may be larger than the memory
    assert len(part) == 4 and len(inner) == 2
    places = torch.tensor([1, 100])
    found, expected = inner.sample(torch.tensor([1, 0]), places, CPU), whole.sample(torch.tensor([9, 20]), places, CPU)
    assert torch.equal(found.local, expected.local) and torch.equal(found.representation, expected.representation)


def test_prepare_keeps_the_features_of_its_images_within_the_budgets() -> None:
    explainer = prepared()
    assert explainer.features is not None and explainer.features.local.shape == (64, 256, 16)
    tight = prepared(MilrSettings(infomax=InfomaxSettings(memory_gib=0, disk_gib=0.001)))
    assert tight.features is not None and len(tight.features.places) == 256  # half a MiB: a disk of one holds it
    assert torch.equal(tight.features.local, explainer.features.local)
    loaded = MILR.load(trained_network(), explainer.state(), IMAGES[:2])
    assert loaded.features is None


def test_training_images_that_are_not_finite_in_a_later_batch_are_refused_too() -> None:
    images = IMAGES.clone()
    images[23, 0, 3, 3] = math.inf
    explainer = MILR(trained_network(), "layer1", "avgpool", IMAGES[:2])
    with pytest.raises(MilrError, match="image 23 of those given to prepare holds nan or inf"):
        explainer.prepare(images.split(8), 24)


def test_a_disk_without_room_for_them_is_named_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*words: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(MilrError, match=r"GiB for the layers' features \(No space left.*TMPDIR.*infomax.disk_gib"):
        collected(0, 1)
