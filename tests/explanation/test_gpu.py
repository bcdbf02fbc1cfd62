"""On a GPU the library gives what it gives on the CPU. Skipped where torch finds none."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset
from toy import SHORT, fitted, pictures, trained_network

import milr
from milr.baselines.iba import feature_statistics
from milr.baselines.methods import BASELINES, Methods
from milr.decisions.batches import Batch
from milr.evaluation.perturbation import at_layer
from milr.evaluation.study import areas

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no GPU")

IMAGES, LABELS, _ = pictures(12, seed=7)
KINDS = ("total", "kept", "redundant", "decision", "mask", "output")


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions in float32, as the command line has them; torch alone would take TF32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def on_gpu(explainer: milr.MILR) -> milr.MILR:
    return copy.deepcopy(explainer).to("cuda")


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 2e-3) -> bool:
    return torch.allclose(one.detach().cpu(), other.detach().cpu(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("refine", [0, 4])
def test_maps_are_those_of_the_cpu(refine: int) -> None:
    here, there = fitted()(IMAGES, refine=refine), on_gpu(fitted())(IMAGES, refine=refine)
    assert there.total.is_cuda and not there.to("cpu").total.is_cuda
    assert all(close(getattr(here, kind), getattr(there, kind), 5e-3) for kind in KINDS)


def test_images_may_lie_on_either_device() -> None:
    explainer = on_gpu(fitted())
    assert torch.equal(explainer(IMAGES).total, explainer(IMAGES.cuda()).total)
    assert torch.equal(fitted()(IMAGES.cuda()).total, fitted()(IMAGES).total)


@pytest.mark.parametrize("where", ["cpu", "cuda"])
def test_targets_may_lie_on_either_device(where: str) -> None:
    explainer, classes = on_gpu(fitted()), LABELS.to(where)
    target = milr.towards_class(classes)
    assert close(
        explainer.decision_map(IMAGES, refine=3, target=target),
        fitted().decision_map(IMAGES, refine=3, target=milr.towards_class(LABELS)),
        5e-3,
    )
    assert explainer.attribute(IMAGES, target=classes, refine=2).shape == (12, 1, 32, 32)
    partner = explainer.layers.first_pass(IMAGES.cuda()).output.to(where)
    assert explainer.decision_map(IMAGES, refine=2, target=milr.towards(partner[0], against=partner[1:3])).is_cuda


def test_a_file_goes_from_one_device_to_the_other(tmp_path: Path) -> None:
    on_gpu(fitted()).save(tmp_path / "milr.pt")
    here = milr.load(tmp_path / "milr.pt", copy.deepcopy(trained_network()))
    assert not here.modules.bank.local.is_cuda and close(here(IMAGES).total, fitted()(IMAGES).total)
    fitted().save(tmp_path / "other.pt")
    there = milr.load(tmp_path / "other.pt", copy.deepcopy(trained_network()), device="cuda")
    assert there.modules.bank.local.is_cuda and close(there(IMAGES).total, fitted()(IMAGES).total)


@pytest.mark.parametrize("ending", [".png", ".npz"])
def test_maps_on_a_gpu_are_drawn_and_saved(ending: str, tmp_path: Path) -> None:
    maps = on_gpu(fitted())(IMAGES[:2])
    maps.save(tmp_path / f"maps{ending}", **({"images": IMAGES[:2].cuda()} if ending == ".png" else {}))
    assert (tmp_path / f"maps{ending}").stat().st_size and "<image" in maps.show(IMAGES[:2].cuda()).html


def test_a_fit_moves_between_devices() -> None:
    explainer = on_gpu(fitted())
    explainer.to("cpu")
    assert torch.equal(explainer(IMAGES).total, fitted()(IMAGES).total)
    explainer.to("cuda")
    assert explainer(IMAGES).total.is_cuda


@pytest.mark.parametrize("decision", ["classes", "prototypes", "pairs"])
def test_a_fit_on_a_gpu_finds_what_the_cpu_does(decision: str) -> None:
    images, labels, _ = pictures(96, seed=3)
    loader = DataLoader(TensorDataset(images, labels), 32)
    how = milr.FitSettings(critic=milr.CriticSettings(steps=60, validate_every=20))
    totals = []
    for device in ("cpu", "cuda"):
        explainer = milr.MILR(copy.deepcopy(trained_network()).to(device), "layer1", "avgpool")
        explainer.fit(loader, decision=decision, steps=6, settings=how, progress=False)
        totals.append(explainer(IMAGES).total.mean().item())
        assert next(explainer.network.parameters()).device.type == device
    assert totals[0] == pytest.approx(totals[1], rel=0.15)


def test_a_fit_in_bfloat16() -> None:
    explainer = milr.MILR(copy.deepcopy(trained_network()).cuda(), "layer1", "avgpool", precision=torch.bfloat16)
    loader = DataLoader(TensorDataset(*pictures(64, seed=3)[:2]), 32)
    explainer.fit(loader, steps=2, settings=milr.FitSettings(critic=SHORT), progress=False)
    assert explainer(IMAGES, refine=2).total.isfinite().all()


def test_every_method_and_its_curves_are_those_of_the_cpu() -> None:
    names = [name for name in BASELINES if name != "attention_rollout"]  # the toy has no attention
    maps, keep_less_remove = [], []
    for explainer in (fitted(), on_gpu(fitted())):
        device = next(explainer.network.parameters()).device
        batch = Batch(IMAGES.to(device), lambda output: (output, LABELS.to(output.device)))
        statistics = feature_statistics(explainer.layers, [pictures(64, 0)[0].to(device)])
        maps.append(Methods(explainer, names, statistics).maps(batch, seed=0))
        trial = at_layer(explainer.layers, batch, explainer.modules.local, "noise", 0)
        keep_less_remove.append(areas(trial, maps[0], [0.1, 0.3], 0))
    for name, here in maps[0].items():
        scale = here.abs().amax().clamp(min=1e-6)
        assert ((here - maps[1][name]) / scale).abs().mean() < 0.01, name
        assert close(keep_less_remove[0][name], keep_less_remove[1][name]), name
