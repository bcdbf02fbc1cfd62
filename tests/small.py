"""Stages small enough for a test: their words, and what they leave and say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from milr import cli

Capture = pytest.CaptureFixture[str]

DRAWN = ["dataset.species=12", "dataset.images_per_species=8", "dataset.picture_size=64", "dataset.size=32"]
TRAIN = ["backbone=resnet10", "device=cpu", "episode.way=3", "episode.query=2", "train.log_every=1"]
TRAIN += ["train.episodes=2", "train.validate_every=1", "train.validation_episodes=20", "train.learning_rate=1e-4"]
TRAIN += ["train.batch_norm=eval", "seed=1"]  # so that a trained step is kept, which a repetition has to hit
FIT = [
    "milr.steps=2",
    "milr.validate_every=1",
    "milr.validation_episodes=1",
    "critic.steps=2",
    "critic.validate_every=1",
]


def run_of(outputs: Path, stage: str) -> Path:
    (run,) = (outputs / stage).iterdir()
    return run


def manifest(run: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((run / "manifest.json").read_text())
    return content


def change(run: Path, **entries: object) -> None:
    """Writes other entries into a run's manifest."""
    (run / "manifest.json").write_text(json.dumps({**manifest(run), **entries}))


def call(pipeline: Path, *words: str) -> int:
    stage, *overrides = words
    return cli.main([stage, f"outputs={pipeline}", *overrides])


def error(capsys: Capture) -> str:
    """The one line that was said."""
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    return lines[0]
