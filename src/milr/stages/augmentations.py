"""The augmentation of training pictures from a stage's settings."""

from __future__ import annotations

from dataclasses import asdict

from milr.data.augmentation import Augmentation
from milr.data.settings import AugmentationSettings


def training_augmentation(settings: AugmentationSettings) -> Augmentation | None:
    """None where it is switched off."""
    values = asdict(settings)
    return Augmentation(**values) if values.pop("enabled") else None
