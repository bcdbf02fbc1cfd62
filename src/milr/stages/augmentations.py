"""The augmentation of training pictures from a stage's settings."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from milr.data.settings import AugmentationSettings

if TYPE_CHECKING:
    from milr.data.augmentation import Augmentation


def training_augmentation(settings: AugmentationSettings) -> Augmentation | None:
    """None where it is switched off."""
    from milr.data.augmentation import Augmentation

    values = asdict(settings)
    return Augmentation(**values) if values.pop("enabled") else None
