"""The settings of each stage, as types: Hydra refuses any other key, and any value of another type."""

from __future__ import annotations

from dataclasses import dataclass, field

from milr.backbones.settings import BackboneSettings
from milr.data.settings import AugmentationSettings, DatasetSettings, EpisodeSettings
from milr.decisions.settings import DecisionSettings
from milr.explanation.settings import (
    BottleneckSettings,
    InfomaxSettings,
    MaskSettings,
)
from milr.fields import MISSING, setting
from milr.figures.settings import FigureSettings, SheetSettings
from milr.networks.settings import LayerSettings, MetricSettings
from milr.settings.sections import (
    CalibrateSection,
    CriticSection,
    DataSection,
    EvaluateSection,
    InterventionsSection,
    MilrSection,
    PlantedCritic,
    PlantedInfomax,
    SanitySection,
    TestSection,
    TrainSection,
    VisualizeSection,
)

LOGGER = "none | tensorboard: beside metrics.jsonl its curves, to be seen with tensorboard --logdir outputs"
CACHE = "the folder of decoded pictures, kept for later runs; null: decode them each time"
NO_CACHE = dict.fromkeys(("false", "False", "no", "off", "none", "None"), "cache=null keeps nothing")
RESUME = "a run folder, or latest: go on in the run that was stopped, with its settings"
PRECISION = "of the frozen network: float32 | bfloat16, about 1.5 times as fast where the processor has it"


@dataclass
class StageSettings:
    """The settings that every stage has."""

    seed: int = setting(0, "of everything drawn at random", low=0, high=2**32 - 1)
    device: str = setting("auto", "auto: a GPU if there is one | cpu | cuda", choices=("auto", "cpu", "cuda"))
    outputs: str = setting("outputs", "the folder of the run folders")
    dataset: DatasetSettings = field(default_factory=DatasetSettings)  # the group puts one of DATA_SETS here


@dataclass
class NetworkStageSettings(StageSettings):
    """A stage with a prototype network and its episodes."""

    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    episode: EpisodeSettings = field(default_factory=EpisodeSettings)
    metric: MetricSettings = field(default_factory=MetricSettings)


@dataclass
class TrainProtonet(NetworkStageSettings):
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    train: TrainSection = field(default_factory=TrainSection)
    resume: str = setting("", RESUME)
    cache: str | None = setting("${outputs}/cache", CACHE, never=NO_CACHE)
    logger: str = setting("none", LOGGER, choices=("none", "tensorboard"))


@dataclass
class ChainedStageSettings(NetworkStageSettings):
    """A stage that goes on from the run folder of an earlier one."""

    source: str = setting(
        MISSING,
        "the run that it goes on from: latest, of `milr runs` | its folder | none: the network as backbone.* says",
    )


@dataclass
class TestProtonet(ChainedStageSettings):
    test: TestSection = field(default_factory=TestSection)
    cache: str | None = setting("${outputs}/cache", CACHE, never=NO_CACHE)

    __test__ = False  # for pytest: no test class


@dataclass
class FitMilr(ChainedStageSettings):
    precision: str = setting("float32", PRECISION, choices=("float32", "bfloat16"))
    layers: LayerSettings = field(default_factory=LayerSettings)
    decision: DecisionSettings = field(default_factory=DecisionSettings)
    augmentation: AugmentationSettings = field(default_factory=AugmentationSettings)
    milr: MilrSection = field(default_factory=MilrSection)
    infomax: InfomaxSettings = field(default_factory=InfomaxSettings)
    critic: CriticSection = field(default_factory=CriticSection)
    mask: MaskSettings = field(default_factory=MaskSettings)
    bottleneck: BottleneckSettings = field(default_factory=BottleneckSettings)
    resume: str = setting("", RESUME)
    cache: str | None = setting("${outputs}/cache", CACHE, never=NO_CACHE)
    logger: str = setting("none", LOGGER, choices=("none", "tensorboard"))


@dataclass
class Visualize(FigureSettings, ChainedStageSettings):
    images: list[str] = setting([], "explain these files instead of episodes: [a.jpg,b.jpg]")
    visualize: VisualizeSection = field(default_factory=VisualizeSection)


@dataclass
class Evaluate(SheetSettings, ChainedStageSettings):
    precision: str = setting("float32", PRECISION, choices=("float32", "bfloat16"))
    evaluate: EvaluateSection = field(default_factory=EvaluateSection)
    resume: str = setting("", f"{RESUME}; a state is saved after each episode")
    cache: str | None = setting("${outputs}/cache", CACHE, never=NO_CACHE)


@dataclass
class Interventions(ChainedStageSettings):
    precision: str = setting("float32", PRECISION, choices=("float32", "bfloat16"))
    interventions: InterventionsSection = field(default_factory=InterventionsSection)
    cache: str | None = setting("${outputs}/cache", CACHE, never=NO_CACHE)


@dataclass
class Sanity(SheetSettings, ChainedStageSettings):
    sanity: SanitySection = field(default_factory=SanitySection)
    cache: str | None = setting("${outputs}/cache", CACHE, never=NO_CACHE)


@dataclass
class Calibrate(StageSettings):
    infomax: PlantedInfomax = field(default_factory=PlantedInfomax)
    critic: PlantedCritic = field(default_factory=PlantedCritic)
    calibrate: CalibrateSection = field(default_factory=CalibrateSection)


@dataclass
class Layers(StageSettings):
    backbone: BackboneSettings = field(default_factory=BackboneSettings)
    layers: LayerSettings = field(default_factory=LayerSettings)


@dataclass
class Data(StageSettings):
    data: DataSection = field(default_factory=DataSection)
