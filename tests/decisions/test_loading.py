"""Batches of a fit from a DataLoader: the same for the same step, held-out images apart, each decision's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset, WeightedRandomSampler
from toy import SHORT, pictures, prepared

from milr.decisions.batch_sources import KEPT
from milr.decisions.decisions import Batch
from milr.decisions.loading import fit_batches
from milr.errors import MilrError
from milr.explanation.fitting import fit
from milr.explanation.settings import FitSettings

COUNT = 40
NUMBERS = torch.arange(COUNT)
MARKED = TensorDataset(NUMBERS.float()[:, None, None, None].expand(COUNT, 3, 4, 4), NUMBERS % 4)  # images tell which


def numbers_of(batch: Batch) -> list[int]:
    return [int(image[0, 0, 0]) for image in batch.images]


def test_a_step_has_the_same_images_whenever_it_is_asked_and_each_epoch_has_all_once() -> None:
    batches, held_out = fit_batches(DataLoader(MARKED, batch_size=6, shuffle=True), "classes", seed=3)
    seen = [numbers_of(batches(step)) for step in range(1, 14)]
    assert [numbers_of(batches(step)) for step in (9, 1, 2, 9)] == [seen[8], seen[0], seen[1], seen[8]]
    out = {number for batch in held_out for number in numbers_of(batch)}
    assert len(out) == 4  # a tenth
    for epoch in (seen[:6], seen[6:12]):
        once = [number for part in epoch for number in part]
        assert len(set(once)) == len(once) == 36 and not out & set(once)
    assert seen[:6] != seen[6:12]
    other, _ = fit_batches(DataLoader(MARKED, batch_size=6), "classes", seed=4)
    assert numbers_of(other(1)) != seen[0]
    score = batches(1).decided(torch.nn.functional.one_hot(torch.tensor(seen[0]) % 4, 4).float()).score
    assert score.tolist() == [1.0] * 6


class Noisy(Dataset[Any]):
    """Items that draw from torch's generator, as augmentations do."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"pixel_values": torch.rand(3, 4, 4), "labels": index % 2}


def test_what_a_data_set_draws_is_the_steps_own_with_any_number_of_workers() -> None:
    before = torch.random.get_rng_state()
    alone, _ = fit_batches(DataLoader(Noisy(), batch_size=2), "classes", seed=0, validation_share=0)
    helped, none = fit_batches(DataLoader(Noisy(), batch_size=2, num_workers=1), "classes", seed=0, validation_share=0)
    for step in (1, 2, 1):
        assert torch.equal(alone(step).images, helped(step).images)
    assert none == [] and not torch.equal(alone(1).images[0], alone(1).images[1])
    assert torch.equal(before, torch.random.get_rng_state())


class Stream(IterableDataset[Any]):
    """Images that come once, one by one."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return ((MARKED[number][0], number % 4) for number in range(COUNT))


def weighted() -> Any:
    return DataLoader(MARKED, 4, sampler=WeightedRandomSampler([1.0] * COUNT, COUNT))


@pytest.mark.parametrize(
    "loader",
    [DataLoader(Stream(), batch_size=4), weighted(), (item for item in [*DataLoader(MARKED, 4)])],
    ids=["iterable", "own sampler", "generator"],
)
def test_what_cannot_be_indexed_is_kept_as_it_came(loader: Any) -> None:
    batches, held_out = fit_batches(loader, "classes", seed=0)
    seen = [numbers_of(batches(step)) for step in range(1, 10)]
    assert len(held_out) == 1 and numbers_of(held_out[0]) not in seen
    assert len({tuple(part) for part in seen}) == 9 and numbers_of(batches(5)) == seen[4]


def test_an_endless_loader_is_kept_up_to_a_limit() -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield torch.zeros(1000, 3, 2, 2), torch.arange(1000) % 2

    batches, held_out = fit_batches(endless(), "classes", seed=0)
    assert len(held_out) == 1 and len(batches(1).images) == 1000 and KEPT == 4096


def test_comparisons_draw_a_few_classes_with_four_images_of_each() -> None:
    many = TensorDataset(MARKED.tensors[0].repeat(3, 1, 1, 1), (torch.arange(120) // 10).long())
    batches, held_out = fit_batches(DataLoader(Subset(many, range(110)), batch_size=12), "pairs", seed=0)
    places = NUMBERS.repeat(3)

    def classes(batch: Batch) -> list[int]:
        matrix = batch.decided(torch.eye(12)).answers().isfinite()
        assert matrix.sum() == 12 * 11  # each image against all others
        return numbers_of(batch)

    assert [len(set(classes(batches(step)))) > 3 for step in (1, 2)] == [True, True] and len(places) == 120
    assert batches(1).decided(torch.eye(12)).chance == pytest.approx(3 / 11)  # three of eleven others are its own
    assert len(held_out) == 2  # of two whole classes


def test_regression_has_one_scale_for_all_batches() -> None:
    data = TensorDataset(MARKED.tensors[0], NUMBERS.float())
    batches, held_out = fit_batches(DataLoader(data, 5), "regression", seed=0, validation_share=0.5)
    targets = torch.tensor([number for batch in held_out for number in numbers_of(batch)]).float()
    loss = batches(1).decided(torch.zeros(5, 1)).loss
    assert loss.tolist() == pytest.approx([(n / targets.std(correction=0).item()) ** 2 for n in numbers_of(batches(1))])


def test_a_function_makes_a_batch_of_what_the_loader_gives() -> None:
    batches, held_out = fit_batches(
        DataLoader(MARKED, 4), lambda item: Batch(item[0], lambda output: (output, item[1])), seed=0
    )
    assert len(batches(1).images) == 4 and isinstance(held_out[0], Batch)


@pytest.mark.parametrize(
    ("loader", "decision", "message"),
    [
        (DataLoader(MARKED, 4), "label", "choose among classes, prototypes, multilabel"),
        ([MARKED[0][0]], "classes", r"the loader gives a torch.Tensor \[3, 4, 4\] without targets"),
        ([], "classes", "the loader gives nothing"),
        (DataLoader(Subset(MARKED, []), 4), "classes", "is empty"),
        (DataLoader(TensorDataset(MARKED.tensors[0], NUMBERS), 8), "pairs", "fewer than two classes have two images"),
    ],
)
def test_what_cannot_be_made_batches_of_is_refused_by_name(loader: Any, decision: str, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        fit_batches(loader, decision, seed=0)[0](1)


def test_a_fit_takes_them() -> None:
    data = TensorDataset(*pictures(48, seed=5)[:2])
    batches, held_out = fit_batches(DataLoader(data, batch_size=8), "prototypes", seed=0, validation_share=0.2)
    assert fit(prepared(), batches, FitSettings(steps=2, validate_every=1, critic=SHORT), held_out) in (1, 2)
