"""What a data set, its episodes and the changes of its pictures are told. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class DatasetSettings:
    """What every data set is told."""

    name: str
    root: str
    crop: str
    size: int
    split: str


@dataclass
class SyntheticSettings(DatasetSettings):
    """The drawn birds."""

    species: int
    images_per_species: int
    picture_size: int
    seed: int


@dataclass
class CubSettings(DatasetSettings):
    """CUB-200-2011, or any folder in its layout."""


@dataclass
class FolderSettings(DatasetSettings):
    """A folder with one folder of pictures for each class, or with such folders in `train`, `val` and `test`."""


DATASETS: dict[str, type[DatasetSettings]] = {
    "synthetic": SyntheticSettings,
    "cub": CubSettings,
    "folder": FolderSettings,
}


@dataclass
class AugmentationSettings:
    enabled: bool
    scale_min: float
    flip: bool
    brightness: float
    contrast: float
    saturation: float
    hue: float


@dataclass
class EpisodeSettings:
    way: int
    shot: int
    query: int
