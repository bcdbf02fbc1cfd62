"""What each stage may be told, as types: Hydra refuses any other key, and any value of another type.

The values themselves stand in `conf/`, each with its comment; a field without a default here must be given there.
Which values make sense (a choice of words, a smallest number) stands in `limits.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from milr.data.settings import AugmentationSettings, DatasetSettings, EpisodeSettings
from milr.explanation.settings import BottleneckSettings, InfomaxSettings, MaskSettings
from milr.networks.settings import BackboneSettings, MetricSettings


@dataclass
class TrainSettings:
    episodes: int
    way: int
    query: int
    rotate: bool
    episodes_per_step: int
    validate_every: int
    validation_episodes: int
    log_every: int
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: str
    warmup: int
    precision: str
    freeze: list[str]
    batch_norm: str
    compile: bool = False  # run folders of before this have none of these keys
    winograd: bool = False
    save_every: int = 100


@dataclass
class AccuracySettings:
    episodes: int
    batch_size: int
    allow_seen: bool


@dataclass
class FitSettings:
    alpha: float
    beta: float
    redundancy: str
    way: int
    query: int
    steps: int
    learning_rate: float
    beta_warmup: float
    validate_every: int
    validation_episodes: int
    patience: int
    log_every: int
    save_every: int = 50


@dataclass
class FigureSettings:
    episodes: int
    queries: int


@dataclass
class EvaluationSettings:
    episodes: int
    percent: list[float]
    pixel_percent: list[float]
    baselines: list[str]
    sheet_rows: int


@dataclass
class SanitySettings:
    checks: list[str]
    images: int
    seeds: int
    cascade: list[int]
    steps: int
    estimator_steps: int


@dataclass
class DownloadSettings:
    download: bool
    segmentations: bool
    address: str
    check_pictures: bool


@dataclass
class StageSettings:
    """What every stage is told."""

    seed: int
    device: str
    outputs: str
    dataset: DatasetSettings


@dataclass
class NetworkStageSettings(StageSettings):
    """A stage with a prototype network and its episodes."""

    backbone: BackboneSettings
    episode: EpisodeSettings
    metric: MetricSettings


@dataclass
class TrainProtonet(NetworkStageSettings):
    augmentation: AugmentationSettings
    train: TrainSettings
    resume: str = ""
    cache: str | None = None
    logger: str = "none"


@dataclass
class ChainedStageSettings(NetworkStageSettings):
    """A stage that goes on from the run folder of an earlier one."""

    source: str


@dataclass
class TestProtonet(ChainedStageSettings):
    test: AccuracySettings
    cache: str | None = None

    __test__ = False  # for pytest: no test class


@dataclass
class FitMilr(ChainedStageSettings):
    precision: str
    layers: dict[str, str]  # local and global: `global` is no name for a Python field
    augmentation: AugmentationSettings
    milr: FitSettings
    infomax: InfomaxSettings
    mask: MaskSettings
    bottleneck: BottleneckSettings
    resume: str = ""
    cache: str | None = None  # older runs have none, and no logger
    logger: str = "none"


@dataclass
class Visualize(ChainedStageSettings):
    images: list[str]
    scale: str
    visualize: FigureSettings


@dataclass
class Evaluate(ChainedStageSettings):
    precision: str
    evaluate: EvaluationSettings
    resume: str = ""
    cache: str | None = None


@dataclass
class Sanity(ChainedStageSettings):
    sanity: SanitySettings
    cache: str | None = None


@dataclass
class Data(StageSettings):
    data: DownloadSettings


STAGES: dict[str, type[StageSettings]] = {
    "train_protonet": TrainProtonet,
    "test_protonet": TestProtonet,
    "fit_milr": FitMilr,
    "visualize": Visualize,
    "evaluate": Evaluate,
    "sanity": Sanity,
    "data": Data,
}
