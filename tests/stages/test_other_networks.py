"""A network of another source through the stages, from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from small import FIT, Capture, call, error, run_of

from milr import cli
from milr.data import augmentation
from milr.data.augmentation import Normalisation
from milr.stages import evaluate

VIT = ["backbone=timm", "backbone.name=test_vit", "backbone.weights=none", "device=cpu"]
BIRDS = ["dataset.species=12", "dataset.images_per_species=4", "dataset.picture_size=64", "dataset.size=64"]
EPISODE = ["episode.way=3", "episode.query=1"]


@pytest.mark.slow
def test_a_transformer_goes_through_the_stages_with_its_own_mean_and_std(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Normalisation] = []
    statistics = augmentation.statistics

    def spy(normalisation: Normalisation, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(normalisation)
        return statistics(normalisation, device)

    monkeypatch.setattr(augmentation, "statistics", spy)
    birds = [f"dataset.root={tmp_path / 'birds'}", *BIRDS]
    short = ["train.episodes=1", "train.validation_episodes=2", "train.freeze=[patch_embed]", "train.batch_norm=eval"]
    assert call(tmp_path, "train-protonet", *VIT, *birds, *EPISODE, *short) == 0
    assert call(tmp_path, "test-protonet", "source=latest", "test.episodes=2") == 0
    assert call(tmp_path, "fit-milr", "source=latest", "critic.views=1", *FIT) == 0
    assert call(tmp_path, "visualize", "source=latest") == 0
    monkeypatch.setattr(evaluate, "draw", lambda *_: None)  # charts, which take seconds
    few = ["evaluate.episodes=1", "evaluate.baselines=[]", "evaluate.percent=[20,50]", "evaluate.pixel_percent=[]"]
    assert call(tmp_path, "evaluate", "source=latest", "evaluate.sheet_rows=1", *few) == 0
    assert set(seen) == {Normalisation((0.5,) * 3, (0.5,) * 3)} and len(seen) > 10
    settings = OmegaConf.load(run_of(tmp_path, "visualize") / "config.yaml")
    assert settings.backbone.std == [0.5] * 3 and settings.dataset.size == 64
    state = torch.load(run_of(tmp_path, "fit_milr") / "milr.pt", weights_only=True)
    assert state["local"].startswith("blocks.") and state["z"] == "norm"


@pytest.mark.slow
def test_a_network_that_was_not_trained_here_is_the_source_of_a_fit(tmp_path: Path, capsys: Capture) -> None:
    words = [*BIRDS, f"dataset.root={tmp_path / 'birds'}", *EPISODE, "device=cpu", "backbone=resnet10", *FIT]
    assert call(tmp_path, "fit-milr", "source=none", "critic.views=1", *words) == 0
    assert "source=none: the network is taken as it is" in capsys.readouterr().out
    trained, fitted = (run_of(tmp_path, stage) for stage in ("train_protonet", "fit_milr"))
    settings = OmegaConf.load(fitted / "config.yaml")
    assert settings.source == str(trained) and (settings.layers.local, settings.layers.z) == ("layer1", "avgpool")
    assert OmegaConf.load(trained / "config.yaml").train.episodes == 0
    capsys.readouterr()
    assert call(tmp_path, "visualize", "source=none") == 2
    assert "source=none: visualize goes on from a run of fit-milr" in error(capsys)
    assert call(tmp_path, "fit-milr", "-m", "source=none", "milr.beta=0.1,1", *words) == 2
    assert "source=none in a sweep" in error(capsys)


def test_two_classes_are_enough_for_a_decision_that_is_no_episode(tmp_path: Path, capsys: Capture) -> None:
    for number in range(8):
        path = tmp_path / "pictures" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((32, 32), 20 + 9 * number).save(path)
    folder = ["dataset=folder", f"dataset.root={tmp_path / 'pictures'}", "dataset.size=32", "device=cpu"]
    words = ["fit-milr", "source=none", *folder, "decision=classes", "decision.head=linear", "critic.views=1", *FIT]
    assert call(tmp_path, *words) == 2
    assert "decision.classes=train has 1 of the 2" in error(capsys)
    assert call(tmp_path, *words, "decision.classes=all") == 0
    assert cli.main(["runs", f"outputs={tmp_path}", "stage=train-protonet"]) == 0
    assert "as it is, not trained" in capsys.readouterr().out
    assert call(tmp_path, "train-protonet", *folder, "train.episodes=1", "train.validation_episodes=0") == 2
    assert "only with train.episodes=0" in error(capsys)


def test_the_table_of_layers_and_what_can_be_wrong_with_a_name(capsys: Capture) -> None:
    assert cli.main(["layers", *VIT, "layers.local=blocks.2"]) == 0
    table = capsys.readouterr().out
    assert table.startswith("test_vit, pictures of 160 px")
    assert any(line.startswith("blocks.2 ") and line.endswith("local, stage") for line in table.splitlines())
    for words, message in (
        (["backbone=timm"], "backbone.name is missing: give backbone.name=<name>"),
        (["backbone=timm", "backbone.name=test_vot"], "timm has no such network: did you mean test_vit"),
        (["backbone=resnet10", "backbone.name=test_vit"], "backbone.name=test_vit: choose one of conv4, resnet10"),
        (["backbone=resnet10", "layers.local=nope"], "the network has no layer 'nope'"),
        (["dataset.size=5"], "dataset.size=5: at least 16 pixels, or 0"),
        (["backbone.source=tim"], "choose one of milr, timm, torchvision, transformers, import (did you mean 'timm'?)"),
    ):
        assert cli.main(["layers", *words]) == 2
        assert message in error(capsys)


MOVING = '''
import torch, torchvision
from torch import nn
from torch.nn.functional import avg_pool2d

class Moving(nn.Module):
    """A picture's most uneven sixteenth is moved to the same place; noise is even, and stays."""

    def __init__(self):
        super().__init__()
        self.body = torchvision.models.resnet18(num_classes=8)

    def forward(self, images):
        pooled = avg_pool2d(images.mean(1, keepdim=True), 16, 16).flatten(1)
        most, number = (pooled - pooled.mean(1, keepdim=True)).abs().max(1)
        places = zip(images, number.tolist(), (most > 0.35).tolist())
        return self.body(torch.stack([one.roll((24 - 16 * (n // 4), 24 - 16 * (n % 4)), (1, 2)) if moved else one
                                      for one, n, moved in places]))
'''


@pytest.mark.slow
def test_a_network_that_moves_its_pictures_is_warned_of_on_the_command_line_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    (tmp_path / "moving_network.py").write_text(MOVING, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    own = ["backbone=import", "backbone.name=moving_network:Moving", "backbone.weights=none", "device=cpu"]
    words = [*BIRDS, f"dataset.root={tmp_path / 'birds'}", *EPISODE, *own, *FIT]
    assert call(tmp_path, "fit-milr", "source=none", "critic.views=1", *words) == 0
    assert "does the network move or cut its images by what they show" in capsys.readouterr().out
