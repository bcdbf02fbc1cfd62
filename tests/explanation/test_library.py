"""The library as people type it: loaders, the layers found later, files, devices, Captum's `attribute`."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from states import same_modules
from torch.utils.data import DataLoader, IterableDataset, TensorDataset
from toy import pictures, prepared, trained_network

import milr
from milr.errors import MilrError
from milr.explanation import fitting

TRAINING, CLASSES, _ = pictures(64, seed=0)
IMAGES = pictures(8, seed=7)[0]
DICTS = [{"image": image, "path": "a.jpg", "label": 1} for image in TRAINING]


class Stream(IterableDataset[Any]):
    """Images without a length."""

    def __iter__(self) -> Any:
        return iter(TRAINING)


def unprepared(**how: Any) -> milr.MILR:
    return milr.MILR(trained_network(), "layer1", "avgpool", **how)


@pytest.mark.parametrize(
    "loader",
    [
        lambda: TRAINING,
        lambda: TRAINING.numpy(),
        lambda: TRAINING.split(32),
        lambda: TensorDataset(TRAINING, CLASSES),
        lambda: DataLoader(TensorDataset(TRAINING), 32),
        lambda: DataLoader(TensorDataset(TRAINING, CLASSES), 32),
        lambda: DataLoader(DICTS, 32),
        lambda: DataLoader(Stream(), 32),
        lambda: (part for part in TRAINING.split(32)),
    ],
    ids=["tensor", "array", "list", "set", "images", "pairs", "dicts", "stream", "generator"],
)
def test_the_layers_and_the_number_of_images_are_found_in_any_loader(loader: Callable[[], Any]) -> None:
    explainer = unprepared()
    explainer.prepare(loader())
    assert same_modules(explainer, prepared())


def test_a_loader_that_drops_its_last_batch_holds_fewer() -> None:
    explainer = unprepared()
    explainer.prepare(DataLoader(TensorDataset(TRAINING, CLASSES), 24, drop_last=True))
    assert len(explainer.features) == 48  # type: ignore[arg-type]


def test_a_loader_that_shuffles_prepares_the_same_by_one_seed() -> None:
    loader = DataLoader(TensorDataset(TRAINING, CLASSES), 16, shuffle=True)
    one, other, third = unprepared(), unprepared(), unprepared()
    one.prepare(loader)
    torch.rand(3)
    other.prepare(loader)
    third.prepare(loader, seed=1)
    assert same_modules(one, other) and not same_modules(one, third)


def test_mirror_images_are_counted_in() -> None:
    explainer = unprepared()
    explainer.prepare(TRAINING, views=2)
    own, mirrored = explainer.features.representation.view(2, 2, 32, -1).unbind(1)  # type: ignore[union-attr]
    expected = explainer.layers.first_pass(TRAINING.flip(3)).representation
    assert torch.allclose(mirrored.flatten(0, 1), expected, atol=1e-5) and not torch.equal(own, mirrored)
    with pytest.raises(MilrError, match=r"views=3\): 1, or 2"):
        explainer.prepare(TRAINING, views=3)


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        ([], "prepare got no images"),
        (iter(()), "prepare got no images"),
        (lambda: 1, "takes batches of images .*, not a .*function"),
        ([{"a": TRAINING, "b": TRAINING}], "no images are found in the first batch, a dict: give MILR"),
        ([("a", TRAINING)], "no images are found in the first batch, a tuple"),
        (DataLoader(TensorDataset(TRAINING), 32, collate_fn=lambda rows: rows[0][0][None]), "hold 2: pass that number"),
    ],
)
def test_what_is_no_loader_of_images_is_refused(batches: Any, message: str) -> None:
    with pytest.raises(MilrError, match=message):
        unprepared().prepare(batches)


def test_before_the_first_batch_the_layers_are_not_known() -> None:
    explainer = unprepared()
    assert repr(explainer) == "MILR(Network, local='layer1', z='avgpool', not prepared)"
    for use in (lambda: explainer.layers, lambda: explainer(IMAGES), lambda: explainer.state()):
        with pytest.raises(MilrError, match="nothing was fitted yet.*: call fit"):
            use()


def test_an_argument_that_there_is_not_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        MilrError, match=r"no argument layuot= \(did you mean 'layout'\?\): .* there are local, z, read"
    ):
        unprepared(layuot="tokens")


def test_the_layers_can_be_given_at_once() -> None:
    layers = milr.LayerSettings(local="layer1", z="fc", layout="channels_first")
    explainer = milr.MILR(trained_network(), z="avgpool", layers=layers)  # what is named beside them counts
    explainer.prepare(TRAINING)
    assert same_modules(explainer, prepared())


def test_a_call_gives_the_maps_of_all_images_in_batches() -> None:
    explainer = prepared()
    explainer.fitted = True
    whole, parts = explainer.maps(IMAGES), explainer(IMAGES, batch_size=3)
    assert len(parts) == 8
    for kind in ("total", "decision", "redundant", "output"):
        assert torch.allclose(getattr(parts, kind), getattr(whole, kind), atol=1e-4)


def test_a_saved_explainer_comes_back_without_an_example(tmp_path: Path) -> None:
    explainer = prepared()
    explainer.save(tmp_path / "milr.pt")
    loaded = milr.load(tmp_path / "milr.pt", copy.deepcopy(trained_network()), device="cpu")
    assert repr(loaded) == "MILR(Network, local='layer1', z='avgpool', 16 x 16 places, fitted)"
    assert torch.equal(loaded(IMAGES).redundant, explainer(IMAGES).redundant)
    loaded.save(tmp_path / "again.pt")
    again = milr.load(tmp_path / "again.pt", trained_network())
    assert torch.equal(again(IMAGES).decision, explainer(IMAGES).decision)


def test_files_of_something_else_are_refused_in_one_line(tmp_path: Path) -> None:
    network, path = trained_network(), tmp_path / "milr.pt"
    with pytest.raises(MilrError, match="there is no file .*milr.pt"):
        milr.load(path, network)
    torch.save(network.state_dict(), path)
    with pytest.raises(MilrError, match="holds no fitted MI-LR module: save one by explainer.save"):
        milr.load(path, network)
    prepared().save(path)
    content = path.read_bytes()
    path.write_bytes(content[:-5000])
    with pytest.raises(MilrError, match=r"was not written by explainer.save, or it is cut \(RuntimeError\)"):
        milr.load(path, network)
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes([content[middle] ^ 64]) + content[middle + 1 :])
    with pytest.raises(MilrError, match="milr.pt is damaged .the checksum of .* differs"):
        milr.load(path, network)
    with pytest.raises(MilrError, match="cannot be written: there is no folder"):
        prepared().save(tmp_path / "missing" / "milr.pt")


def test_an_explainer_goes_to_devices_that_there_are() -> None:
    explainer = copy.deepcopy(prepared())
    assert explainer.to("cpu") is explainer
    with pytest.raises(MilrError, match="the network cannot go to 'nowhere': "):
        explainer.to("nowhere")


def test_attribute_gives_a_map_at_the_inputs_size() -> None:
    explainer = prepared()
    heat = explainer.attribute(IMAGES, target=torch.zeros(8))
    assert heat.shape == (8, 1, 32, 32)
    assert torch.equal(heat[:, 0], explainer(IMAGES).upsample(32).decision)
    assert not torch.equal(explainer.attribute(IMAGES, kind="total"), heat)
    (one,) = explainer.attribute((IMAGES,))  # as Captum's metrics call it
    assert torch.equal(one, heat)
    wanted = explainer.attribute(IMAGES, target=[0, 1] * 4, refine=2, batch_size=3)
    expected = explainer.maps(IMAGES, refine=2, target=milr.towards_class(torch.tensor([0, 1] * 4)))
    assert torch.allclose(wanted[:, 0], expected.upsample(32).decision, atol=1e-3) and not torch.allclose(wanted, heat)
    with pytest.raises(MilrError, match=r"attribute\(kind=decisive\): choose among total, .*did you mean 'decision'"):
        explainer.attribute(IMAGES, kind="decisive")


SHORT = milr.FitSettings(validate_every=1, critic=milr.CriticSettings(steps=4, images=8, places=8, validate_every=2))
LABELLED = DataLoader(TensorDataset(TRAINING, CLASSES), 16)


def test_a_fit_by_a_loader_prepares_first_and_holds_a_part_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    explainer = unprepared().fit(LABELLED, steps=2, settings=SHORT, progress=False)
    assert explainer.fitted and capsys.readouterr() == ("", "")
    monkeypatch.setattr("milr.bars.moving", lambda stream: True)  # as on a terminal
    again = unprepared().fit(LABELLED, steps=2, settings=SHORT)
    shown = capsys.readouterr().err
    assert same_modules(explainer, again) and all(f"{bar}:" in shown for bar in ("prepare", "critic", "mask", "pairs"))
    other = unprepared().fit(LABELLED, steps=2, settings=SHORT, progress=False, seed=1)
    assert not same_modules(explainer, other)


def test_the_critic_is_held_out_on_no_image_that_it_is_fitted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = []
    fit_critic = fitting.fit_critic

    def kept(critic: Any, task: Any, *rest: Any) -> Any:
        tasks.append(task)
        return fit_critic(critic, task, *rest)

    monkeypatch.setattr(fitting, "fit_critic", kept)
    unprepared().fit(LABELLED, steps=1, settings=SHORT, progress=False)
    assert len(tasks) == 2  # the critic's, and that of the pairs
    for task in tasks:
        assert len(task.train) == 58 and len(task.held_out) == 6
        assert torch.cdist(task.train.representation, task.held_out.representation).min() > 1e-3


def test_a_fit_takes_a_decision_of_ones_own_and_validation_of_both_kinds() -> None:
    def half(item: Any) -> milr.Batch:
        return milr.Batch(item[0], milr.classify(item[1] // 2))

    explainer = unprepared().fit(LABELLED, half, steps=1, settings=SHORT, progress=False)
    by_batches = unprepared().fit(LABELLED, half, 1, [half(item) for item in LABELLED], SHORT, progress=False)
    by_loader = unprepared().fit(LABELLED, half, 1, LABELLED, SHORT, progress=False)
    assert explainer.fitted and by_batches.fitted and by_loader.fitted


def test_a_generator_cannot_be_fitted_to() -> None:
    with pytest.raises(MilrError, match="fit goes through the loader several times: .*, not a generator"):
        unprepared().fit(item for item in LABELLED)


@pytest.mark.slow
def test_from_a_bare_timm_model_to_a_figure_in_five_lines(tmp_path: Path) -> None:
    import timm

    network = timm.create_model("resnet10t", num_classes=4)
    loader = DataLoader(TensorDataset(torch.randn(32, 3, 64, 64), torch.arange(32) % 4), 16)

    explainer = milr.MILR(network)
    explainer.fit(loader, steps=2, settings=SHORT, progress=False)
    images, labels = next(iter(loader))
    explainer(images[:3]).plot(images[:3], names=labels[:3].tolist()).savefig(tmp_path / "maps.png")

    assert (tmp_path / "maps.png").stat().st_size > 10_000
