"""What users pass as images: right where it can mean one thing, else refused by name before anything is computed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from states import same_modules
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from toy import SHORT, Network, batch, pictures, prepared, trained_network

from milr.decisions.decisions import Batch
from milr.errors import MilrError
from milr.explanation.fitting import fit
from milr.explanation.milr import MILR
from milr.explanation.settings import FitSettings

IMAGES, LABELS, _ = pictures(8, seed=7)
TRAINING, CLASSES, _ = pictures(64, seed=0)


class Dicts(Dataset[dict[str, Any]]):
    """Items as dicts, as many data sets of today give them."""

    def __len__(self) -> int:
        return len(TRAINING)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self):
            raise IndexError
        return {"image": TRAINING[index], "label": int(CLASSES[index]), "path": f"{index}.jpg"}


def unprepared() -> MILR:
    return MILR(trained_network(), "layer1", "avgpool", IMAGES[:2])


@pytest.mark.parametrize(
    "batches",
    [
        TRAINING,
        DataLoader(TensorDataset(TRAINING, CLASSES), 32),
        DataLoader(Dicts(), 32),
        [part.numpy() for part in TRAINING.split(32)],
        [part.double() for part in TRAINING.split(32)],
        [part.clone().requires_grad_() for part in TRAINING.split(32)],
        [list(part) for part in TRAINING.split(32)],
        (part for part in TRAINING.split(32)),
    ],
    ids=["tensor", "pairs", "dicts", "numpy", "double", "gradients", "lists", "generator"],
)
def test_training_images_in_any_usual_form_prepare_the_same_module(batches: Iterable[Any]) -> None:
    explainer = unprepared()
    explainer.prepare(batches, 64)
    assert same_modules(explainer, prepared())


def test_a_data_set_of_single_images_prepares_it_from_the_same_statistics() -> None:
    explainer = unprepared()
    explainer.prepare(Dicts(), 64)  # type: ignore[arg-type]
    expected = prepared().modules
    assert torch.allclose(explainer.modules.local.mean, expected.local.mean, atol=1e-6)
    assert torch.allclose(explainer.modules.local.std, expected.local.std, atol=1e-6)
    assert explainer.modules.bank.local.shape == expected.bank.local.shape


@pytest.mark.parametrize(
    ("batches", "images", "message"),
    [
        (TRAINING.split(32), 63, "told images=63, but the batches hold more"),
        (TRAINING.split(32), 65, "told images=65, but the batches hold 64"),
        (DataLoader(TensorDataset(TRAINING), 48, drop_last=True), 64, "hold 48: pass that number .*drop_last"),
        ([], 64, "no images: is the generator used up"),
        (iter(()), 64, "no images: is the generator used up"),
        (TRAINING[:0].split(32), 64, r"holds no image: its shape is \[0, 3, 32, 32\]"),
        (TRAINING.split(32), 0, "images=0.*2 or more"),
        (TRAINING[:1].split(32), 1, "images=1.*2 or more"),
        (TRAINING.split(32), -3, "images=-3.*2 or more"),
        (TRAINING.split(32), 64.0, "a whole number, not 64.0"),
        (TRAINING.split(32), TRAINING, r"a whole number, not a torch.Tensor \[64, 3, 32, 32\]"),
        (lambda step: TRAINING, 64, "takes batches of images .*, not a .*function"),
        ("images", 64, "must be a tensor, not 'i'"),
        (
            TRAINING[..., :30].split(32),
            64,
            r"\[K, 3, 32, 32\], as the example had, not \[32, 3, 32, 30\]: resize",
        ),
        ([(TRAINING, TRAINING)], 64, r"a tuple with 2 things of \[K, 3, 32, 32\] \(0: a torch.Tensor .*pass one"),
        ([{"label": CLASSES}], 64, r"a dict without images \[K, 3, 32, 32\] \(label: a torch.Tensor \[64\]\)"),
    ],
)
def test_training_images_that_are_none_are_refused_by_name(batches: Any, images: Any, message: str) -> None:
    explainer = unprepared()
    with pytest.raises(MilrError, match=message):
        explainer.prepare(batches, images)
    with pytest.raises(MilrError, match="knows no training images yet"):
        explainer.modules  # noqa: B018


def test_a_generator_is_not_read_further_than_to_the_first_image_too_many() -> None:
    read = []

    def endless() -> Iterable[Tensor]:
        while True:
            read.append(1)
            yield TRAINING[:32]

    with pytest.raises(MilrError, match="hold more"):
        unprepared().prepare(endless(), 64)
    assert len(read) == 3


@pytest.mark.parametrize(
    ("form", "rows"),
    [
        (lambda: IMAGES[3], [3]),
        (lambda: IMAGES.numpy(), range(8)),
        (lambda: IMAGES.numpy()[::-1], range(7, -1, -1)),
        (lambda: IMAGES.numpy().astype(">f4").astype("f8"), range(8)),
        (lambda: IMAGES.double(), range(8)),
        (lambda: IMAGES.clone().requires_grad_(), range(8)),
        (lambda: [IMAGES[1], IMAGES[5]], [1, 5]),
        (lambda: [IMAGES, LABELS], range(8)),
        (lambda: (IMAGES[2], 1), [2]),
        (lambda: {"pixel_values": IMAGES, "labels": LABELS}, range(8)),
        (lambda: IMAGES.to(memory_format=torch.channels_last), range(8)),
    ],
    ids=["one", "numpy", "reversed", "f8", "double", "gradients", "list", "pair", "item", "dict", "channels_last"],
)
def test_images_in_any_usual_form_have_the_same_maps(form: Callable[[], Any], rows: Iterable[int]) -> None:
    explainer = prepared()
    expected, given = explainer.maps(IMAGES), explainer.maps(form())
    for kind in ("total", "decision", "redundant"):
        wanted = getattr(expected, kind)[list(rows)]
        assert getattr(given, kind).shape == wanted.shape
        assert torch.allclose(getattr(given, kind), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (IMAGES[:0], r"holds no image: its shape is \[0, 3, 32, 32\]"),
        ([], "a list without images"),
        ((255 * IMAGES).to(torch.uint8), "is uint8, the example was float32: scale and normalise it as in training"),
        ((255 * IMAGES).to(torch.uint8).numpy(), "is uint8, the example was float32"),
        (IMAGES > 0, "is bool, the example was float32"),
        (IMAGES.to(torch.complex64), "is complex64"),
        (IMAGES.permute(0, 2, 3, 1), r"not \[8, 32, 32, 3\]: channels come first"),
        (IMAGES[0].permute(1, 2, 0).numpy(), r"not \[32, 32, 3\]: channels come first"),
        (IMAGES[:, :, :16, :16], r"not \[8, 3, 16, 16\]: resize them"),
        (IMAGES[:, :1], r"not \[8, 1, 32, 32\]$"),
        (IMAGES[None], r"not \[1, 8, 3, 32, 32\]"),
        (torch.tensor(1.0), r"not \[\]"),
        (IMAGES.split(4), r"a tuple with 2 things of \[K, 3, 32, 32\]"),
        (None, "must be a tensor, not None"),
        ("bird.jpg", "must be a tensor, not 'bird.jpg'"),
        (np.array([object()]), "an array of object"),
        (IMAGES.to_sparse(), "must be a dense tensor with values"),
        (IMAGES.to("meta"), "must be a dense tensor with values"),
    ],
)
def test_what_are_no_images_is_refused_by_name(images: Any, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        prepared().maps(images)


def test_a_picture_of_pillow_is_refused_by_name() -> None:
    from PIL import Image

    with pytest.raises(MilrError, match="must be a tensor, not a PIL.Image: turn pictures into tensors"):
        prepared().maps(Image.new("RGB", (32, 32)))  # type: ignore[arg-type]


def test_a_network_made_in_inference_mode_is_refused_by_name() -> None:
    with torch.inference_mode():
        network = Network().eval()
    with pytest.raises(MilrError, match=r"made under torch.inference_mode, .*copy.deepcopy\(network\) outside"):
        MILR(network, "layer1", "avgpool", IMAGES[:2])
    explainer = prepared(network=copy.deepcopy(network))
    assert fit(explainer, batch, FitSettings(critic=SHORT, steps=2)) == 2
    with pytest.raises(MilrError, match="is a dict, not a torch.nn.Module"):
        MILR({}, "layer1", "avgpool", IMAGES[:2])  # type: ignore[arg-type]


def modes() -> dict[str, Any]:
    return {
        "no_grad": torch.no_grad(),
        "inference_mode": torch.inference_mode(),
        "autocast": torch.autocast("cpu", torch.bfloat16),
    }


@pytest.mark.parametrize("mode", modes())
def test_prepare_and_maps_do_not_depend_on_the_callers_mode(mode: str) -> None:
    explainer = prepared()
    expected = explainer.maps(IMAGES)
    with modes()[mode]:
        other = prepared()
        given = other.maps(IMAGES.clone())
    assert same_modules(explainer, other) and not other.modules.bank.local.is_inference()
    for kind in ("total", "decision", "redundant"):
        assert torch.equal(getattr(expected, kind), getattr(given, kind))


def test_a_default_of_float64_does_not_reach_the_small_modules() -> None:
    expected = prepared()
    torch.set_default_dtype(torch.float64)
    try:
        explainer = MILR(trained_network(), "layer1", "avgpool", IMAGES[:2])
        explainer.prepare(TRAINING.split(32), 64)
        explainer.fitted = True
        maps = explainer.maps(IMAGES)
    finally:
        torch.set_default_dtype(torch.float32)
    dtypes = {name: value.dtype for name, value in explainer.modules.state_dict().items()}
    assert all(dtype == (torch.float16 if "bank." in name else torch.float32) for name, dtype in dtypes.items())
    assert maps.total.dtype == maps.redundant.dtype == torch.float32
    explainer.modules.load_state_dict(expected.modules.state_dict())
    assert torch.allclose(explainer.maps(IMAGES).total, expected.maps(IMAGES).total, atol=1e-5)


class Sentences(Network):
    """Called with two tensors by their names."""

    def forward(self, pixel_values: Tensor, attention_mask: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(pixel_values * attention_mask[:, None, None, None])


def test_a_network_of_several_inputs_gets_them_out_of_what_loaders_give() -> None:
    mask = torch.ones(8)
    inputs = {"pixel_values": IMAGES, "attention_mask": mask}
    explainer = MILR(Sentences().eval(), "layer1", "avgpool", {name: value[:2] for name, value in inputs.items()})
    explainer.prepare([{**inputs, "labels": LABELS}, (inputs, LABELS)], 16)
    explainer.fitted = True
    expected = explainer.maps(inputs).total
    assert torch.equal(
        explainer.maps({"labels": LABELS, **{key: one.numpy() for key, one in inputs.items()}}).total, expected
    )
    fit(explainer, lambda step: Batch(inputs, lambda output: (output, LABELS)), FitSettings(steps=1, critic=SHORT))


class Named(Network):
    def forward(self, *, image: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(image)


class Aged(Network):
    def forward(self, image: Tensor, age: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(image * age[:, None, None, None])


@pytest.mark.parametrize(
    ("network", "item", "given"),
    [
        (Named(), {"image": IMAGES, "labels": LABELS}, {"image": IMAGES}),
        (Aged(), ((IMAGES, torch.ones(8)), LABELS), (IMAGES, torch.ones(8))),
    ],
)
def test_an_input_by_its_name_alone_and_a_number_beside_it_are_found(network: Any, item: Any, given: Any) -> None:
    explainer = MILR(network.eval(), "layer1", "avgpool")
    explainer.fit([item] * 2, steps=1, settings=FitSettings(critic=SHORT), progress=False)
    assert explainer(given).total.shape == (8, 16, 16)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"pixel_values": IMAGES}, "'attention_mask' is missing in a dict; .* called with pixel_values .K, 3, 32, 32."),
        ({"pixel_values": IMAGES, "attention_mask": torch.ones(7)}, "hold 8 pixel_values, 7 attention_mask: as many"),
        ({"pixel_values": IMAGES[:, :2], "attention_mask": torch.ones(8)}, "'pixel_values' of .* must have the shape"),
        (IMAGES, "'pixel_values' is missing in a torch.Tensor"),
    ],
)
def test_inputs_that_lack_something_are_refused_by_its_name(given: Any, message: str) -> None:
    example = {"pixel_values": IMAGES[:2], "attention_mask": torch.ones(2)}
    explainer = MILR(Sentences().eval(), "layer1", "avgpool", example)
    with pytest.raises(MilrError, match=message):
        explainer.prepare([given], 8)


def test_texts_of_another_length_are_to_be_padded() -> None:
    network = nn.Sequential(nn.Embedding(20, 8), nn.GRU(8, 8, batch_first=True))
    explainer = MILR(network, "0", "1", example=torch.randint(0, 20, (2, 9)))
    with pytest.raises(MilrError, match=r"not \[4, 7\]: pad or cut all to one length \(.*max_length=9\), masks too"):
        explainer.prepare([torch.randint(0, 20, (4, 7))])
