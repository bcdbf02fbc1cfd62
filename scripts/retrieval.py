"""Is a pair's map about the pair? Recall@1 after the top fifth of each query's places is removed, by several maps.

    python scripts/retrieval.py outputs/fit_milr/<run> --split novel --queries 200

Every picture of the split is the gallery of all others. A query's partner is the picture that the untouched network
finds nearest; labels only count the hits. Each map ranks the places of the query's local layer, the highest are filled
with the features' own noise, and the changed embedding looks for its nearest picture again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from milr.baselines.controls import activation_norm, random_maps
from milr.data.augmentation import to_input
from milr.data.loading import load_splits
from milr.evaluation.perturbation import highest
from milr.explanation.milr import MILR
from milr.information.bottleneck import noise_like, occlude
from milr.runs.inherit import dataset_of, fit_settings_of
from milr.runs.sources import find_source
from milr.stages.explainers import load_explainer

SHARE = 0.2
AT_ONCE = 20
RESAMPLES = 2000


@dataclass(frozen=True)
class Gallery:
    """The untouched embeddings of all pictures, centred and of length 1, and their classes."""

    embeddings: Tensor  # [N, E]
    mean: Tensor  # [E]
    labels: Tensor  # [N]

    def unit(self, output: Tensor) -> Tensor:
        """An output [K, E] as the gallery has it."""
        return normalize(output - self.mean, dim=1)

    def nearest(self, output: Tensor, queries: Tensor) -> Tensor:
        """The nearest picture of each query [K] but itself."""
        similarity = self.unit(output) @ self.embeddings.T
        similarity[torch.arange(len(queries)), queries] = -torch.inf
        return similarity.argmax(1)


def maps_of(explainer: MILR, gallery: Gallery, images: Tensor, queries: Tensor, steps: int) -> dict[str, Tensor]:
    """Maps [K, H, W] of the queries, by name."""
    first = explainer.layers.first_pass(images)
    partner = gallery.embeddings[gallery.nearest(first.output, queries)]

    def unlike(output: Tensor) -> Tensor:
        """How far an output is from the query's partner: 1 less the cosine [K], over a temperature."""
        return (1 - (gallery.unit(output) * partner).sum(1)) / 0.05

    return {
        "pair": explainer.maps(images, refine=steps, target=unlike).decision,
        "no target": explainer.maps(images).decision,
        "grad_cam": similarity_cam(explainer, images, first.local, unlike),
        "activation": activation_norm(first.local),
        "total": explainer.maps(images).total,
        "random": random_maps((len(images), *explainer.layers.grid), int(queries[0])),
    }


def similarity_cam(explainer: MILR, images: Tensor, local: Tensor, unlike: Callable[[Tensor], Tensor]) -> Tensor:
    """Grad-CAM of the similarity to the partner at the local layer."""
    local = local.clone().requires_grad_()
    loss = unlike(explainer.layers.second_pass(local, images).output).sum()
    (gradient,) = torch.autograd.grad(-loss, local)
    return (gradient.mean((2, 3), keepdim=True) * local.detach()).sum(1).relu()


@torch.no_grad()
def removed(explainer: MILR, images: Tensor, heat: Tensor, seed: int) -> Tensor:
    """The network's output [K, E] without each map's highest places."""
    first = explainer.layers.first_pass(images)
    generator = torch.Generator().manual_seed(seed)
    noise = noise_like(explainer.modules.local, first.local, generator)
    kept = ~highest(heat, SHARE, seed)
    occluded = occlude(first.local, kept[:, None].to(first.local), "noise", noise)
    return explainer.layers.second_pass(occluded, images).output


def interval(differences: Tensor) -> tuple[float, float]:
    """95 % of the bootstrap's means."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(len(differences), (RESAMPLES, len(differences)), generator=generator)
    low, high = torch.quantile(differences[drawn].mean(1), torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
    return low, high


def main() -> None:
    """Prints the table as CSV."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run folder of fit-milr")
    parser.add_argument("--split", default="validation", choices=("train", "validation", "novel"))
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--steps", type=int, default=10, help="of the pair's refinement")
    given = parser.parse_args()
    source, device = find_source(given.run.parent.parent, "fit_milr", str(given.run)), torch.device("cpu")
    dataset = dataset_of(source)
    explainer, network = load_explainer(source, fit_settings_of(source).backbone.name, dataset.size, device)
    _, pictures = load_splits(dataset, None, [given.split], normalisation=network.origin.normalisation)
    shown = pictures[given.split]
    with torch.no_grad():
        outputs = torch.cat([explainer.layers.first_pass(batch).output for batch in shown.batches(device)])
    mean = outputs.mean(0)
    gallery = Gallery(normalize(outputs - mean, dim=1), mean, shown.labels)
    chosen = torch.randperm(len(outputs), generator=torch.Generator().manual_seed(0))[: given.queries]
    hits: dict[str, list[Tensor]] = {}
    for number, queries in enumerate(chosen.split(AT_ONCE)):
        images = to_input(shown.chosen(queries), device, shown.normalisation)
        changed = {"untouched": outputs[queries]}
        for name, heat in maps_of(explainer, gallery, images, queries, given.steps).items():
            changed[name] = removed(explainer, images, heat, number)
        for name, output in changed.items():
            right = gallery.labels[gallery.nearest(output, queries)] == gallery.labels[queries]
            hits.setdefault(name, []).append(right.double())
    table = {name: torch.cat(values) for name, values in hits.items()}
    print("map,recall_at_1,pair_less_this,low,high")
    for name, values in table.items():
        low, high = interval(table["pair"] - values)
        print(f"{name},{values.mean():.3f},{(table['pair'] - values).mean():.3f},{low:.3f},{high:.3f}", flush=True)


if __name__ == "__main__":
    main()
