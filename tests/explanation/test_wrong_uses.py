"""Networks and loaders as nobody meant them: read rightly, or refused in a line before time is spent."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from typing import Any, NamedTuple

import pytest
import torch
import toy
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
)

import milr
from milr.decisions import batch_sources
from milr.errors import MilrError

IMAGES, LABELS = torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
SHORT = milr.FitSettings(steps=1, critic=milr.CriticSettings(steps=1))


@dataclass
class Answer:
    features: Tensor
    logits: Tensor


class NamedAnswer(NamedTuple):
    embedding: Tensor
    logits: Tensor


class Small(nn.Module):
    """[K, 3, 16, 16] -> what `answer` makes of features [K, 8, 8, 8] and logits [K, 2]."""

    def __init__(self, answer: Any = lambda features, logits: logits) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU())
        self.pool, self.head, self.answer = nn.AdaptiveAvgPool2d(1), nn.Linear(8, 2), answer

    def forward(self, x: Tensor) -> Any:
        features = self.body(x)
        return self.answer(features, self.head(self.pool(features).flatten(1)))


class Named(Small):
    def forward(self, *, other: Tensor | None = None, x: Tensor | None = None) -> Any:  # type: ignore[override]
        return super().forward(x)  # type: ignore[arg-type]


def loader(items: Any) -> DataLoader[Any]:
    return DataLoader(list(items), 4)


def fitted(network: nn.Module, given: Any, decision: Any = "classes") -> milr.MILR:
    return milr.MILR(network, "body", "pool").fit(given, decision, settings=SHORT, progress=False)


PAIRS = loader(zip(IMAGES, LABELS, strict=True))


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        (lambda features, logits: (features, logits), "1"),
        (lambda features, logits: NamedAnswer(features.mean((2, 3)), logits), "logits"),
        (Answer, "logits"),
        (lambda features, logits: {"features": features, "y": logits}, "y"),
    ],
)
def test_of_several_outputs_the_vectors_are_taken(answer: Any, name: str) -> None:
    layers = milr.MILR(Small(answer), "body", "pool", example=IMAGES[:2]).layers
    assert layers.choice.output == name and layers.first_pass(IMAGES).output.shape == (8, 2)


def test_of_a_pyramid_of_maps_the_deepest_is_taken() -> None:
    network = Small(lambda features, logits: [features, features[:, :, :4, :4], features[:, :, :2, :2]])
    assert milr.MILR(network, "body", "pool", example=IMAGES[:2]).layers.choice.output == "2"


def test_one_number_for_each_image_is_a_column() -> None:
    targets = loader(zip(IMAGES, torch.linspace(0, 1, 8), strict=True))
    explainer = fitted(Small(lambda features, logits: logits[:, 0]), targets, "regression")
    assert explainer(IMAGES).output.shape == (8, 1)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (lambda features, logits: logits.mean(), "one number for all images"),
        (lambda features, logits: features, r"decision='classes' needs one vector.*gives \[K, 8, 8, 8\]"),
    ],
)
def test_an_output_that_is_no_answer_is_refused(answer: Any, error: str) -> None:
    with pytest.raises(MilrError, match=error):
        fitted(Small(answer), PAIRS)


def test_a_network_without_values_or_gradients_is_refused() -> None:
    with pytest.raises(MilrError, match="on the device meta"):
        fitted(Small().to("meta"), PAIRS)
    network = Small()
    network.forward = torch.inference_mode()(network.forward)  # type: ignore[method-assign]
    with pytest.raises(MilrError, match=r"forward runs under torch\.inference_mode"):
        fitted(network, PAIRS)
    network = Small()
    with torch.inference_mode():  # the caller's own
        assert milr.MILR(network, "body", "pool", example=IMAGES[:2].clone()).layers.takes_one


@pytest.mark.parametrize(
    ("network", "items"),
    [
        (Named(), [({"x": image}, label) for image, label in zip(IMAGES, LABELS, strict=True)]),
        (Small(), [({"x": image}, label) for image, label in zip(IMAGES, LABELS, strict=True)]),
        (Small(), [(image, {"label": label, "box": 0}) for image, label in zip(IMAGES, LABELS, strict=True)]),
    ],
)
def test_dicts_within_a_pair_are_read(network: nn.Module, items: list[Any]) -> None:
    assert fitted(network, loader(items)).fitted


class Item(NamedTuple):
    number: Tensor
    label: Tensor
    image: Tensor


@dataclass
class Batched:
    label: Tensor
    image: Tensor


def test_named_tuples_and_dataclasses_are_read_by_their_names() -> None:
    assert fitted(
        Small(), loader(Item(label, label, image) for image, label in zip(IMAGES, LABELS, strict=True))
    ).fitted
    items = [Batched(LABELS[at : at + 4], IMAGES[at : at + 4]) for at in (0, 4)]
    explainer = milr.MILR(Small()).fit(items, settings=SHORT, progress=False)
    assert torch.equal(explainer(items[0]).total, explainer(IMAGES[:4]).total)


def test_a_list_of_single_images_with_their_labels_is_a_data_set() -> None:
    items = [(image, int(label)) for image, label in zip(IMAGES, LABELS, strict=True)]
    expected = fitted(Small(), DataLoader(items, 32), "classes")
    assert len(fitted(Small(), items).features or ()) == len(expected.features or ()) == 8


@pytest.mark.parametrize("beside", [None, "a name", {"labels": LABELS[:4]}, LABELS[:4]])
def test_a_list_of_two_things_is_a_batch_whatever_stands_beside_its_images(beside: Any) -> None:
    explainer = milr.MILR(Small())
    explainer.prepare([(IMAGES[:4], beside), (IMAGES[4:], beside)])
    assert len(explainer.features or ()) == 8


def test_two_images_of_a_pair_are_the_networks_two_arguments() -> None:
    items = [((image, numbers), label) for image, numbers, label in zip(IMAGES, torch.randn(8, 5), LABELS, strict=True)]
    explainer = milr.MILR(Both()).fit(loader(items), settings=SHORT, progress=False)
    assert (explainer.layers.local, explainer.layers.z) == ("picture", "pool")


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_batch_sampler_of_ones_own_chooses_the_images(drop_last: bool) -> None:
    data, read = TensorDataset(IMAGES, LABELS), []

    class Noted(Dataset[Any]):
        def __len__(self) -> int:
            return len(data)

        def __getitem__(self, number: int) -> Any:
            read.append(number)
            return data[number]

    fitted(Small(), DataLoader(Noted(), batch_sampler=BatchSampler(SequentialSampler(data), 3, drop_last)))
    assert set(read) == set(range(8))
    read.clear()
    fitted(Small(), DataLoader(Noted(), batch_sampler=BatchSampler(SubsetRandomSampler(range(6)), 3, drop_last)))
    assert set(read) == set(range(6))


def test_inputs_without_height_and_width_have_no_maps_of_their_size() -> None:
    network = nn.Sequential(nn.Unflatten(1, (3, 16, 16)), *Small().body, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    explainer = milr.MILR(network, "1", "3", layout="channels_first")
    explainer.prepare(IMAGES.flatten(1).split(4))
    explainer.fitted = True
    assert explainer(IMAGES.flatten(1)).total.shape == (8, 8, 8)
    with pytest.raises(MilrError, match=r"inputs \[768\] have no height and width: take maps \[K, 8, 8\]"):
        explainer.attribute(IMAGES.flatten(1))


def test_decisions_by_another_of_their_names() -> None:
    assert fitted(Small(), PAIRS, milr.classify).fitted
    many = loader(zip(IMAGES, nn.functional.one_hot(LABELS, 2), strict=True))
    assert fitted(Small(), many, "labels").fitted  # as on the command line
    images, decide = IMAGES[:4], lambda output: (output, LABELS[:4])
    batch = milr.Batch(inputs={"x": images}, decide=decide)
    assert batch.images["x"] is images and milr.Batch(images, decide).images is images
    with pytest.raises(MilrError, match="give images, or inputs as their other name, not both"):
        milr.Batch(images, decide, inputs=images)


def test_few_images_of_few_classes_can_be_compared() -> None:
    images = torch.cat([IMAGES, IMAGES + 1])
    for decision in ("prototypes", "pairs"):  # a tenth of 16 images would be one of each class at best
        assert fitted(Small(), DataLoader(TensorDataset(images, LABELS.repeat(2)), 4), decision).fitted


class WithoutLength(Dataset[Any]):
    """Items, and no word of how many."""

    def __getitem__(self, index: int) -> Any:
        return IMAGES[index], LABELS[index]


PICTURE = Image.new("RGB", (16, 16))


@pytest.mark.parametrize(
    ("given", "decision", "error"),
    [
        (None, "classes", "takes a DataLoader or a list"),
        (IMAGES, "classes", "takes a DataLoader or a list"),
        (PAIRS, None, "decision=None: choose among classes"),
        (PAIRS, lambda item: None, r"must make a milr\.Batch"),
        (PAIRS, lambda output, labels: None, "called with what the loader gives alone.*'labels'"),
        (PAIRS, nn.CrossEntropyLoss(), r"decision=a torch\.CrossEntropyLoss: choose among classes"),
        ((IMAGES, LABELS), "classes", r"without targets: of images and labels make torch\.utils\.data\.TensorDataset"),
        (loader(zip(IMAGES, LABELS, LABELS, strict=True)), "classes", r"milr\.Batch\(item\[0\], milr\.classify"),
        (loader([(PICTURE, 0)] * 8), "classes", "makes no batch of its items.*PIL"),
        (loader((torch.randn(3, 16, 16 + n), 0) for n in range(8)), "classes", "makes no batch of its items.*equal"),
        (loader([(IMAGES[0], 0)]), "classes", "1 images are too few for a fit"),
        (loader([(IMAGES[0], 0)] * 8), "classes", "'pool' gives the same for every image of the 8"),
        (DataLoader(WithoutLength(), 4), "classes", r"makes no batch of its items.*has no len\(\)"),
    ],
)
def test_a_loader_that_cannot_be_is_refused(given: Any, decision: Any, error: str) -> None:
    with pytest.raises(MilrError, match=error):
        fitted(Small(), given, decision)


@pytest.mark.parametrize(
    ("how", "error"),
    [({"settings": {"steps": 2}}, r"settings are milr\.FitSettings"), ({"seed": "x"}, "seed='x': .*whole number")],
)
def test_a_fit_says_which_argument_is_wrong(how: dict[str, Any], error: str) -> None:
    with pytest.raises(MilrError, match=error):
        milr.MILR(Small(), "body", "pool").fit(PAIRS, progress=False, **how)
    with pytest.raises(MilrError, match="the network is a NoneType"):
        milr.MILR(None)  # type: ignore[arg-type]


def test_what_is_none_of_its_arguments_is_refused_when_it_is_made(tmp_path: Any) -> None:
    with pytest.raises(MilrError, match=r"not as a Tensor: images to find them by are MILR\(network, example=images\)"):
        milr.MILR(Small(), IMAGES)  # type: ignore[arg-type]
    for precision in ("bf16", torch.int8):
        with pytest.raises(MilrError, match=r"precision=.*torch\.float32, torch\.bfloat16"):
            milr.MILR(Small(), precision=precision)  # type: ignore[arg-type]
    with pytest.raises(MilrError, match=r"settings are milr\.MilrSettings, not a dict"):
        milr.MILR(Small(), settings={"beta": 1})  # type: ignore[arg-type]
    network = Small()
    with pytest.raises(MilrError, match=r"to\(torch\.float16\) is no device"):
        milr.MILR(network).to(torch.float16)  # type: ignore[arg-type]
    assert network.head.weight.dtype == torch.float32
    with pytest.raises(MilrError, match="the path is text, not None"):
        milr.load(None, network)  # type: ignore[arg-type]


def test_layers_of_another_version_in_a_state_are_refused_by_name() -> None:
    network = Small()
    state = fitted(network, PAIRS).state()
    state["layers"]["of_another_version"] = 1
    with pytest.raises(MilrError, match="not the layers of this version.*of_another_version"):
        milr.MILR.load(network, state)


def test_sequences_with_channels_first_are_loaded_again(tmp_path: Any) -> None:
    network = nn.Sequential(nn.Conv1d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(8, 2))
    series = torch.randn(8, 3, 32)
    explainer = milr.MILR(network).fit([(series, LABELS)], settings=SHORT, progress=False)
    explainer.save(tmp_path / "milr.pt")
    assert torch.equal(milr.load(tmp_path / "milr.pt", network)(series).total, explainer(series).total)


class OverBatch(nn.Module):
    """A recurrent layer that takes the images for times: [K, T, 6] -> [K, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Linear(6, 8), nn.GRU(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.gru(self.embed(x))[0].mean(1))


class Sorted(Small):
    def forward(self, x: Tensor) -> Any:
        logits = super().forward(x)
        return logits[logits[:, 0].argsort()]


def test_images_that_are_taken_for_times_or_sorted_are_refused() -> None:
    with pytest.raises(MilrError, match="depends on the other images of the batch.*without batch_first"):
        milr.MILR(OverBatch(), "embed", "head", example=torch.randn(4, 10, 6))
    with pytest.raises(MilrError, match="depends on the other images of the batch"):
        milr.MILR(Sorted(), "body", "pool", example=IMAGES)


class Both(nn.Module):
    """A picture and five numbers, each embedded -> [K, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.picture, self.pool, self.numbers = nn.Conv2d(3, 4, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(5, 4)
        self.head = nn.Linear(8, 2)

    def forward(self, picture: Tensor, numbers: Tensor) -> Any:
        embedded = self.pool(self.picture(picture)).flatten(1)
        return self.head(torch.cat([embedded, self.numbers(numbers)], 1))


@pytest.mark.parametrize("kind", [dict, tuple])
def test_of_two_inputs_the_layers_of_the_picture_are_guessed(kind: Any) -> None:
    numbers = torch.randn(8, 5)
    pairs = zip(IMAGES, numbers, strict=True)
    items = [dict(picture=image, numbers=own) if kind is dict else (image, own) for image, own in pairs]
    example = dict(picture=IMAGES, numbers=numbers) if kind is dict else (IMAGES, numbers)
    explainer = milr.MILR(Both(), example=example)
    explainer.fit(loader(zip(items, LABELS, strict=True)), settings=SHORT, progress=False)
    assert (explainer.layers.local, explainer.layers.z) == ("picture", "pool")
    assert len(explainer(example, batch_size=3)) == 8


def test_an_embedding_for_logits_and_a_prefix_that_is_not_seen_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    milr.MILR(network, "1", "2").fit(PAIRS, settings=SHORT, progress=False)
    assert "decision='classes' takes its 8 numbers for logits" in caplog.text
    assert "prefix" not in caplog.text


def test_images_on_another_scale_than_those_of_the_fit_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    explainer = fitted(Small(), PAIRS)
    caplog.clear()  # of what the fit itself warned of
    with caplog.at_level(logging.WARNING, "milr"):
        explainer(IMAGES[:2])
        assert not caplog.records
        explainer(torch.cat([IMAGES[:1], 255 * IMAGES[1:2]]))
    assert "image 1 is far from those of prepare: its features at 'body' are" in caplog.text
    assert "scaled and normalised alike?" in caplog.text


def test_answers_that_are_no_better_than_chance_or_probabilities_are_warned_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    images, labels, _ = toy.pictures(64, seed=3)

    def said(network: nn.Module, labels: Tensor, decision: str = "classes", **choice: Any) -> str:
        caplog.clear()
        explainer = milr.MILR(network, **choice)
        explainer.fit(loader(zip(images, labels, strict=True)), decision, settings=SHORT, progress=False)
        return "".join(record.getMessage() for record in caplog.records if "untouched" in record.getMessage())

    for wrong in (labels.roll(1), (labels + 1) % 4):
        assert "by chance 0.250" in said(toy.trained_network(), wrong)
    assert not said(toy.trained_network(), labels)
    for link, decision, log in ((nn.Softmax(1), "classes", torch.log), (nn.Sigmoid(), "multilabel", torch.logit)):
        network = nn.Sequential(toy.trained_network(), link)
        targets = labels if decision == "classes" else nn.functional.one_hot(labels, 4)
        said(network, targets, decision)
        assert "as probabilities do" in caplog.text
        said(network, targets, decision, output=log)
        assert "as probabilities do" not in caplog.text


def test_of_several_vectors_the_log_warns_which_is_taken(caplog: pytest.LogCaptureFixture) -> None:
    milr.MILR(Small(lambda features, logits: (features.mean((2, 3)), logits)), "body", "pool", example=IMAGES[:2])
    assert "output=0 is taken, say output= if another is meant" in caplog.text
    caplog.clear()
    milr.MILR(Small(lambda features, logits: (features, logits)), "body", "pool", example=IMAGES[:2])
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        return cycle(zip(IMAGES, LABELS, strict=True))


@pytest.mark.parametrize("decision", ["classes", lambda item: milr.Batch(item[0], milr.classify(item[1]))])
def test_a_stream_without_an_end_is_read_until_there_are_enough(decision: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_sources, "KEPT", 16)
    assert len(fitted(Small(), DataLoader(Endless(), 4), decision).features or ()) == 16


@pytest.mark.parametrize("loader", [DataLoader(Endless(), 4), (image[None] for image, _ in Endless())])
def test_a_stream_without_an_end_that_is_prepared_alone_is_read_until_there_are_enough(
    loader: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_sources, "KEPT", 16)
    explainer = milr.MILR(Small(), "body", "pool")
    explainer.prepare(loader)
    assert len(explainer.features or ()) == 16


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (torch.eye(2)[LABELS], r"of one-hot rows labels\.argmax\(1\)"),
        (torch.eye(2)[LABELS].long(), r"of one-hot rows labels\.argmax\(1\)"),
        (LABELS[:, None], r"of a column labels\.flatten\(\)"),
        (LABELS + 1, r"label 2 for 2 classes.*counted from 1\? give labels - 1"),
    ],
)
def test_labels_of_another_form_are_refused_with_what_makes_them_right(labels: Tensor, error: str) -> None:
    with pytest.raises(MilrError, match=error):
        fitted(Small(), loader(zip(IMAGES, labels, strict=True)))


def test_a_loader_of_single_items_is_one_of_batches() -> None:
    assert fitted(Small(), DataLoader(TensorDataset(IMAGES, LABELS), batch_size=None)).fitted


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (lambda e: e(IMAGES, refine=1, target=nn.CrossEntropyLoss()), "called with the network's output .* alone"),
        (lambda e: e(IMAGES, refine=1, target=milr.towards(torch.rand(7))), "7 numbers, and the network gives 2"),
        (lambda e: milr.towards(torch.tensor(1.0)), r"is \[E\] or \[K, E\]"),
        (lambda e: milr.towards(torch.tensor([float("nan")])), "finite numbers"),
        (lambda e: milr.towards(torch.zeros(2)), "an embedding of zeros has none"),
        (lambda e: milr.towards(torch.rand(2), torch.rand(4, 3)), "compares 2 numbers with 3"),
        (lambda e: milr.towards(torch.rand(2), metric="cosine"), "MetricSettings"),
        (lambda e: e.attribute(IMAGES, kind=None), "choose among"),
        (lambda e: e.maps(IMAGES, readings="sample"), "a list, of sample"),
        (lambda e: e.prepare(IMAGES, seed=None), "whole number"),
        (lambda e: e.prepare(IMAGES, seed=2**70), "the value must be from"),
        (lambda e: e.save(None), "the path is text, not a NoneType"),
        (lambda e: e(IMAGES).save(IMAGES, "maps.png"), "the path is text, not a Tensor"),
        (lambda e: e(PAIRS), "give a batch of it at a time"),
        (lambda e: milr.MILR(Small(), grid=8), "rows and columns"),
        (lambda e: milr.MILR(Small(), layout="tokens", grid=[8.0, 8.0]), "rows and columns"),
        (lambda e: milr.MILR(Small(), layers={"local": "body"}), r"milr\.LayerSettings\(local="),
        (
            lambda e: milr.MILR(Small(), "body", "pool", IMAGES, read=lambda z: z[:, 99]),
            "function read fails .*IndexErr",
        ),
        (
            lambda e: milr.MILR(Small(), "body", "pool", IMAGES, output=lambda o: o.logits),
            "output fails .*AttributeErr",
        ),
    ],
)
def test_calls_of_another_kind_are_one_line(use: Any, error: str) -> None:
    explainer = milr.MILR(Small(), "body", "pool", example=IMAGES)
    explainer.prepare(IMAGES)
    explainer.fitted = True
    with pytest.raises(MilrError, match=error):
        use(explainer)


def test_one_embedding_may_be_what_another_is_preferred_to() -> None:
    target = milr.towards(torch.tensor([1, 0]), against=torch.tensor([0.0, 1.0]))
    assert target(torch.ones(3, 2)).shape == (3,)
