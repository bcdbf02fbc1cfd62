"""The maps to be compared, by name: the three kinds of information, the controls, and what people use today."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from milr.errors import MilrError
from milr.evaluation.attribution import grad_cam, integrated_gradients, occlusion
from milr.evaluation.controls import activation_norm, centred_gaussian, image_gradient, random_maps, uniform_maps
from milr.evaluation.iba import FeatureStatistics, per_sample_bottleneck
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.seeding import seed_of

KINDS = ("total", "decision", "redundant")  # in the order in which tables and charts have them
CONTROLS = ("random", "uniform", "centre", "activation", "edges")
BASELINES = ("grad_cam", "iba", "integrated_gradients", "occlusion")
CAPTUM = ("integrated_gradients", "occlusion")  # they need the package captum: pip install milr[baselines]


@dataclass(frozen=True)
class Methods:
    """What makes the maps of an episode."""

    explainer: MILR
    baselines: Collection[str] = field(default=("grad_cam",))
    statistics: FeatureStatistics | None = None  # for iba: of the training images

    def __post_init__(self) -> None:
        unknown = set(self.baselines) - set(BASELINES)
        if unknown:
            raise ValueError(f"unknown baselines {sorted(unknown)}: choose among {', '.join(BASELINES)}")
        if "iba" in self.baselines and self.statistics is None:
            raise ValueError("iba needs the statistics of single features: feature_statistics(layers, batches)")

    def maps(self, batch: Batch, seed: int) -> dict[str, Tensor]:
        """Name -> [K, H, W] on the CPU for every image of an episode. MilrError for one that is not finite."""
        explainer = self.explainer
        local = explainer.layers.first_pass(batch.images).local
        shape = (len(local), local.shape[2], local.shape[3])
        found = explainer.maps(batch.images)
        maps = {
            **{kind: getattr(found, kind) for kind in KINDS},
            "random": random_maps(shape, seed_of("random maps", seed)),
            "uniform": uniform_maps(shape),
            "centre": centred_gaussian(*shape[1:]).expand(shape),
            "activation": activation_norm(local),
            "edges": image_gradient(batch.images, shape[1:]),
            **{name: self._baseline(name, batch, local, seed) for name in self.baselines},
        }
        broken = [name for name, heat in maps.items() if not torch.isfinite(heat).all()]
        if broken:
            raise MilrError(f"maps with nan or inf in episode {seed}: {', '.join(broken)}; leave that baseline out")
        return {name: heat.detach().cpu() for name, heat in maps.items()}

    def _baseline(self, name: str, batch: Batch, local: Tensor, seed: int) -> Tensor:
        network, shape = self.explainer.layers.network, (local.shape[2], local.shape[3])
        if name == "grad_cam":
            return grad_cam(self.explainer, batch, local)
        if name == "integrated_gradients":
            return integrated_gradients(network, batch, shape)
        if name == "occlusion":
            return occlusion(network, batch, shape)
        assert self.statistics is not None  # checked at the start
        generator = torch.Generator().manual_seed(seed_of("iba", seed))
        return per_sample_bottleneck(self.explainer.layers, batch, self.statistics, generator)


def family(name: str) -> str:
    """Whose map it is: "milr", "control" or "baseline"."""
    return "milr" if name in KINDS else "control" if name in CONTROLS else "baseline"
