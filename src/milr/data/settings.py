"""The settings of a data set, its episodes and its augmentation, and the table of data sets. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from milr.fields import MISSING, setting

FAMILIES = ("two", "five", "redundant", "separate", "joint")  # of drawn birds
SPLITS = ("train", "validation", "novel", "all")
SIDE = "pixels, the side of the network's square input; 0: as the network was trained with"
NO_SIDE = {size: "at least 16 pixels, or 0" for size in range(1, 16)}


@dataclass
class DatasetSettings:
    """The settings that every data set has."""

    name: str = setting(MISSING, "the data set")
    root: str = setting(MISSING, "the folder that it lies in")
    crop: str = setting(
        "none", "none: the centred square of the whole picture | bbox: the bird's box", choices=("none", "bbox")
    )
    size: int = setting(84, SIDE, low=0, high=1024, never=NO_SIDE)
    split: str = setting(
        "novel",
        "the classes that test-protonet, visualize, evaluate and sanity look at: train | validation | novel | all",
        choices=SPLITS,
    )
    classes: int = setting(0, "of each split the first so many classes, for a quick try; 0: all", low=0, kw_only=True)
    pictures: int = setting(
        0, "of each class the first so many, without classes that have fewer; 0: all", low=0, kw_only=True
    )


@dataclass
class SyntheticSettings(DatasetSettings):
    """The drawn birds."""

    name: str = "synthetic"
    root: str = setting("data/synthetic", "the folder they are drawn into")
    size: int = setting(64, SIDE, low=0, high=1024, never=NO_SIDE)
    species: int = setting(120, "classes drawn, of the families two and five", low=4, high=1000)
    images_per_species: int = setting(16, "pictures drawn of each", low=1, high=10_000)
    picture_size: int = setting(128, "pixels, the side of a drawn picture", low=16, high=1024)
    seed: int = setting(0, "of the drawing", low=0, high=2**32 - 1)
    family: str = setting(
        "two",
        "what tells species apart: two | five parts; of two bits on two parts redundant: either | separate: both | "
        "joint: only both together",
        choices=FAMILIES,
    )
    missing: float = setting(0.0, "share of the training classes' pictures that lack parts", low=0, high=1)


@dataclass
class CubSettings(DatasetSettings):
    """CUB-200-2011, or any folder in its layout."""

    name: str = "cub"
    root: str = setting("data/CUB_200_2011", "the folder with images.txt")


@dataclass
class FolderSettings(DatasetSettings):
    """A folder with one folder of pictures for each class, or with such folders in `train`, `val` and `test`."""

    name: str = "folder"
    root: str = setting("data/pictures", "the folder with one folder for each class")


@dataclass
class FunnyBirdsSettings(DatasetSettings):
    """FunnyBirds, as it is downloaded."""

    name: str = "funnybirds"
    root: str = setting("data/FunnyBirds", "the folder with classes.json")
    size: int = setting(256, SIDE, low=0, high=1024, never=NO_SIDE)


@dataclass(frozen=True)
class DataSet:
    """A row of the table: the settings of a data set, and what reads it."""

    settings: type[DatasetSettings]
    reader: str  # "module:function": (root, **its own settings) -> Catalogue; imported when it is needed


DATA_SETS = {
    "synthetic": DataSet(SyntheticSettings, "milr.data.synthetic:read_synthetic"),
    "cub": DataSet(CubSettings, "milr.data.cub:read_cub"),
    "folder": DataSet(FolderSettings, "milr.data.folder:read_folder"),
    "funnybirds": DataSet(FunnyBirdsSettings, "milr.data.funnybirds:read_funnybirds"),
}


@dataclass
class EpisodeSettings:
    way: int = setting(5, "classes in an episode", low=2)
    shot: int = setting(1, "supports of each class", low=1)
    query: int = setting(10, "queries of each class", low=1)


@dataclass
class Augmentation:
    """How far training pictures may be changed."""

    scale_min: float = setting(0.5, "smallest share of the picture's area that a random crop keeps", low=0.01, high=1)
    flip: bool = setting(True, "left to right, half of the time")
    brightness: float = setting(0.3, "how far it may change, of itself; 0: not at all", low=0, high=1)
    contrast: float = setting(0.3, "the same", low=0, high=1)
    saturation: float = setting(0.3, "the same", low=0, high=1)
    hue: float = setting(0.0, "how far it may turn, 0.5: all the way round", low=0, high=0.5)


@dataclass
class AugmentationSettings(Augmentation):
    """The same, to be switched off as a whole."""

    enabled: bool = setting(True, "false: the pictures as they are")
