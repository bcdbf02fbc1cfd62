"""The maps to be compared: the three kinds of information, controls, and what people use today. A new one is a row."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from types import ModuleType

import torch
from torch import Tensor, nn

from milr.baselines.attribution import grad_cam, integrated_gradients, occlusion, own_decision, saliency
from milr.baselines.controls import activation_norm, centred_gaussian, image_gradient, random_maps, uniform_maps
from milr.baselines.iba import FeatureStatistics, per_sample_bottleneck
from milr.baselines.rollout import attention_rollout
from milr.data.augmentation import IMAGENET, Normalisation
from milr.errors import MilrError
from milr.explanation.fitting import Batch
from milr.explanation.maps import Maps
from milr.explanation.milr import MILR
from milr.networks.freezing import frozen
from milr.seeding import seed_of


@dataclass(frozen=True)
class Scene:
    """What a method may look at: an episode's batch of K images, and what is fitted to the network."""

    explainer: MILR
    batch: Batch
    local: Tensor  # the local features of its images [K, C, H, W]
    maps: Maps  # MI-LR's own
    seed: int
    statistics: FeatureStatistics | None  # of single features over the training images, where a method needs them
    normalisation: Normalisation = IMAGENET  # of the batch's images
    refine: int = 10  # steps of `refined`

    @property
    def network(self) -> nn.Module:
        """The network that is explained."""
        return self.explainer.layers.network

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of what a method gives: [K, H, W]."""
        return len(self.local), self.local.shape[2], self.local.shape[3]


@dataclass(frozen=True)
class Method:
    """A row of METHODS: `make` gives a map [K, H, W] of every image of a scene."""

    name: str
    family: str  # milr, control or baseline
    make: Callable[[Scene], Tensor]
    package: str | None = None  # that must be installed: pip install 'milr[baselines]'
    statistics: bool = False  # whether it needs the scene's
    ruled: bool = False  # whether it is for some kinds of networks only, and has no map of others
    passes: int = 1  # about as much time as so many forward passes of each image
    fitted: bool = False  # whether its maps are of a fit, and others with another seed


def iba(scene: Scene) -> Tensor:
    """`per_sample_bottleneck` with noise of its own for each episode."""
    assert scene.statistics is not None  # `Methods` looks for them
    generator = torch.Generator().manual_seed(seed_of("iba", scene.seed))
    return per_sample_bottleneck(scene.explainer.layers, scene.batch, scene.statistics, generator)


def refined(scene: Scene) -> Tensor:
    """MI-LR's decision map, refined for what IBA explains: each image's own decision."""
    target = own_decision(scene.batch, scene.maps.output)
    with frozen(scene.network, *scene.batch.modules):
        return scene.explainer.decision_map(scene.batch.images, refine=scene.refine, target=target)


def by_rules() -> ModuleType:
    """Guided Grad-CAM, LRP and deep Taylor decomposition; their file cannot be read without zennit."""
    from milr.baselines import relevance

    return relevance


ROWS = (  # in the order in which tables and charts have them
    Method("total", "milr", lambda scene: scene.maps.total, fitted=True),
    Method("decision", "milr", lambda scene: scene.maps.decision, fitted=True),
    Method("kept", "milr", lambda scene: scene.maps.kept, fitted=True),
    Method("redundant", "milr", lambda scene: scene.maps.redundant, fitted=True),
    Method("random", "control", lambda scene: random_maps(scene.shape, seed_of("random maps", scene.seed))),
    Method("uniform", "control", lambda scene: uniform_maps(scene.shape)),
    Method("centre", "control", lambda scene: centred_gaussian(*scene.shape[1:]).expand(scene.shape)),
    Method("activation", "control", lambda scene: activation_norm(scene.local)),
    Method("edges", "control", lambda scene: image_gradient(scene.batch.images, scene.shape[1:])),
    Method("grad_cam", "baseline", lambda scene: grad_cam(scene.explainer, scene.batch, scene.local)),
    Method("saliency", "baseline", lambda scene: saliency(scene.network, scene.batch, scene.shape[1:])),
    Method(
        "guided_grad_cam",
        "baseline",
        lambda scene: by_rules().guided_grad_cam(scene.explainer, scene.batch, scene.local),
        "zennit",
        ruled=True,
    ),
    Method(
        "lrp",
        "baseline",
        lambda scene: by_rules().lrp(scene.network, scene.batch, scene.shape[1:]),
        "zennit",
        ruled=True,
    ),
    Method(
        "deep_taylor",
        "baseline",
        lambda scene: by_rules().deep_taylor(scene.network, scene.batch, scene.shape[1:], scene.normalisation),
        "zennit",
        ruled=True,
    ),
    Method(
        "attention_rollout",
        "baseline",
        lambda scene: attention_rollout(scene.network, scene.batch.images, scene.shape[1:]),
        ruled=True,
    ),
    Method("refined", "baseline", refined, passes=30, fitted=True),
    Method("iba", "baseline", iba, statistics=True, passes=300),
    Method(
        "integrated_gradients",
        "baseline",
        lambda scene: integrated_gradients(scene.network, scene.batch, scene.shape[1:]),
        "captum",
        passes=150,
    ),
    Method(
        "occlusion",
        "baseline",
        lambda scene: occlusion(scene.network, scene.batch, scene.shape[1:]),
        "captum",
        passes=225,
    ),
)
METHODS = {method.name: method for method in ROWS}
KINDS, CONTROLS, BASELINES = (
    tuple(method.name for method in ROWS if method.family == family) for family in ("milr", "control", "baseline")
)
OURS = tuple(method.name for method in ROWS if method.fitted)  # what every other map is compared with


def refusal(name: str, explainer: MILR) -> str | None:
    """Why this method has no map of the explained network, seen on two images of noise; None where it has one."""
    if not METHODS[name].ruled:
        return None
    device = next(explainer.layers.network.parameters()).device
    images = torch.rand(2, *explainer.layers.input_shape, generator=torch.Generator().manual_seed(0)).to(device)
    batch = Batch(images, lambda output: (output, torch.zeros(2, dtype=torch.long, device=device)))
    local = explainer.layers.first_pass(images).local
    try:
        METHODS[name].make(Scene(explainer, batch, local, explainer.maps(images), 0, None))
    except MilrError as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Methods:
    """What makes the maps of an episode: MI-LR, the controls, and those baselines that are asked for."""

    explainer: MILR
    baselines: Collection[str] = field(default=("grad_cam",))
    statistics: FeatureStatistics | None = None  # for methods that need them: of the training images
    normalisation: Normalisation = IMAGENET  # of the pictures
    refine: int = 10  # steps of the baseline `refined`

    def __post_init__(self) -> None:
        needy = [name for name in self.baselines if METHODS[name].statistics]
        if needy and self.statistics is None:
            raise ValueError(f"{needy[0]} needs the statistics of single features: feature_statistics(layers, batches)")

    @property
    def names(self) -> tuple[str, ...]:
        """Of the maps, in their order."""
        return (*KINDS, *CONTROLS, *self.baselines)

    def scene(self, batch: Batch, seed: int) -> Scene:
        """What all maps of an episode are made of."""
        local, own = self.explainer.layers.first_pass(batch.images).local, self.explainer.maps(batch.images)
        return Scene(self.explainer, batch, local, own, seed, self.statistics, self.normalisation, self.refine)

    def maps(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Name -> [K, H, W] on the CPU for every image of an episode. MilrError for one that is not finite."""
        scene = self.scene(batch, seed)
        return {name: made(name, scene) for name in self.names}


def made(name: str, scene: Scene) -> Tensor:
    """The map [K, H, W] of a method, on the CPU. MilrError if it is not finite."""
    heat = METHODS[name].make(scene).detach().cpu()
    if not torch.isfinite(heat).all():
        raise MilrError(f"maps with nan or inf in episode {scene.seed}: {name}; leave that baseline out")
    return heat
