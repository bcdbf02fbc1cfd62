"""The sections of the stages' settings: what stands under train:, milr:, evaluate: and so on. No torch here.

Defaults, bounds, choices and meanings stand at the fields; the files in `conf/` choose among groups and hold recipes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from milr.explanation.settings import (
    CriticSettings,
    FitSteps,
    InfomaxSettings,
    ObjectiveSettings,
)
from milr.fields import setting
from milr.training.settings import AS_EPISODE, TrainSettings

LOG_EVERY = "steps between lines of metrics.jsonl"
SAVE_EVERY = "steps between states that resume= can go on from"
PERCENT = (5, 10, 20, 30, 50, 70, 95)
VALIDATION = "seeded episodes of each validation; the {} with the best result is saved"


def rising(percent: Sequence[float]) -> str:
    """What is wrong with shares in percent, of which a curve is made; nothing where they are two or more, rising."""
    whole = all(p == int(p) and 1 <= p <= 99 for p in percent)
    if len(percent) < 2 or not whole or any(a >= b for a, b in pairwise(percent)):
        return "two or more whole numbers from 1 to 99, rising, are needed"
    return ""


@dataclass
class TrainSection(TrainSettings):
    validation_episodes: int = setting(
        200, VALIDATION.format("network") + "; 0: none, of a training of no episodes", low=0
    )
    log_every: int = setting(10, LOG_EVERY, low=1)
    save_every: int = setting(100, SAVE_EVERY, low=1)


@dataclass
class TestSection:
    episodes: int = setting(600, "seeded episodes, from the classes of dataset.split", low=2)
    batch_size: int = setting(64, "pictures that go through the network at once", low=1)
    allow_seen: bool = setting(False, "true: test on classes that the network was trained on, too")
    mirror: bool = setting(False, "true: of each picture the mean of its embedding and its mirror image's")
    zoom: bool = setting(False, "true: and of the square's that the network reacts to most, enlarged")

    __test__ = False  # for pytest: no test class


@dataclass
class MilrSection(FitSteps, ObjectiveSettings):
    way: int = setting(0, "classes of a step's episode; 0: as in episode.way", low=0, never=AS_EPISODE)
    query: int = setting(0, "queries of each class in it; 0: as in episode.query", low=0)
    validation_episodes: int = setting(10, VALIDATION.format("module"), low=1)
    log_every: int = setting(10, LOG_EVERY, low=1)
    save_every: int = setting(50, SAVE_EVERY, low=1)


@dataclass
class CriticSection(CriticSettings):
    views: int = setting(
        2, "of each picture, to fit to: as it is; mirrored (augmentation.flip=true); the others augmented", low=1
    )


@dataclass
class VisualizeSection:
    episodes: int = setting(1, "seeded episodes to draw", low=1)
    queries: int = setting(1, "queries of each class to draw", low=1)
    refine: int = setting(
        0, "steps in which the mask is turned to each picture's own decision before it is drawn; 10 suffice", low=0
    )


@dataclass
class EvaluateSection:
    episodes: int = setting(15, "seeded episodes to measure", low=1)
    percent: list[float] = setting(
        [*PERCENT], "shares of the layer's places that are kept and removed, rising", rule=rising
    )
    pixel_percent: list[float] = setting(
        [*PERCENT],
        "the same for pixels: each trial is a whole pass; []: none",
        rule=lambda percent: rising(percent) if percent else "",
    )
    baselines: list[str] = setting(
        [
            *("grad_cam", "saliency", "guided_grad_cam", "lrp", "deep_taylor", "attention_rollout"),
            *("iba", "integrated_gradients", "occlusion"),
        ],
        "the last three take minutes an episode; refined: MI-LR's, after evaluate.refine steps; []: none",
    )
    refine: int = setting(
        10, "steps in which the baseline refined turns the mask to each picture's own decision", low=1
    )
    sources: list[str] = setting(
        [],
        "further fits of the same network with other seeds, their folders or a sweep's: measured on the same episodes, "
        "means and intervals over all of them",
    )
    fills: list[str] = setting(
        [],
        "noise | zero | mean | blur: with what the layer's places are filled too, beside mask.fill; rows of their own",
    )
    sheet_rows: int = setting(10, "images of each side-by-side sheet", low=1, high=30)


@dataclass
class InterventionsSection:
    episodes: int = setting(15, "seeded episodes (or batches) whose pictures are looked at without their parts", low=1)
    validation_episodes: int = setting(
        10, "of the validation split, to choose the thresholds of completeness; 0: only the best ones are told", low=0
    )
    contrasts: int = setting(15, "episodes of a class and two that share parts with it, for contrastivity", low=0)
    baselines: list[str] = setting(
        ["refined", "grad_cam", "iba", "integrated_gradients"], "maps beside MI-LR's, as evaluate.baselines; []: none"
    )


@dataclass
class SanitySection:
    checks: list[str] = setting(
        ["estimator", "seeds", "labels", "cascade"],
        "also mask_only, judge, fill (are the masks honest?), consistency, convergence, estimators (are the bits?); "
        "a refit of seeds, labels, cascade takes as long as the source's",
    )
    images: int = setting(60, "pictures of dataset.split whose maps are compared", low=2)
    seeds: int = setting(3, "fits with different seeds, the source's counted", low=2, high=100)
    cascade: list[int] = setting(
        [1, 2, 6], "how many of the top-level layers are randomised, from the output down; 6: all of a ResNet"
    )
    steps: int = setting(0, "steps of the mask in a refit; 0: as many as the source run", low=0)
    critic_steps: int = setting(0, "steps of a critic at most; 0: as many as the source run", low=0)
    critic_images: int = setting(0, "images of a critic's step, whose log2 is its cap; 0: as the source run", low=0)
    estimators: list[str] = setting(
        [], "names of infomax.estimator: further ones of the check estimator; those of estimators, where []: all"
    )
    baselines: list[str] = setting(
        ["grad_cam", "saliency"],
        "of evaluate.baselines, beside MI-LR's maps in mask_only (every picture of the classes), judge and fill",
    )
    episodes: int = setting(8, "seeded episodes of judge and fill", low=1)
    percent: list[float] = setting(
        [*PERCENT], "shares of the layer's places that are kept and removed in them, rising", rule=rising
    )
    judge_steps: int = setting(300, "episodes that the judge learns from, with places missing at random", low=1)
    judge_rate: float = setting(1e-4, "of Adam in it, falling to zero", low=0, never={0: "nothing would be learned"})


@dataclass
class CalibrateSection:
    worlds: list[str] = setting(["fields", "symbols"], "planted: Gaussian fields, linear network | drawn symbols")
    estimators: list[str] = setting(
        ["infonce", "nwj", "smile", "mine", "jsd", "flo"], "names of infomax.estimator; the first is the result's"
    )
    denominators: list[str] = setting(
        ["representations", "same_place"], "names of infomax.denominator: InfoNCE is fitted with each"
    )
    train_pictures: int = setting(32768, "planted pictures to fit to", low=16)
    held_out_pictures: int = setting(1024, "by which the fit stops", low=2)
    test_pictures: int = setting(256, "whose maps are held against the truth", low=1)
    seeds: int = setting(1, "fits of each estimator, each with pictures of its own; from 2 on their spread", low=1)


@dataclass
class PlantedInfomax(InfomaxSettings):
    """The critic with what 6 bits at a place take: docs/results/calibration.md."""

    place_table: bool = setting(True, "and by a learned row of its own for each place, which scales hidden units too")
    width: int = setting(512, "hidden units of the critic's local network; 0: one layer", low=0)
    representation_width: int = setting(
        256, "hidden units of the critic's network of the representation, beside a linear map; 0: none", low=0
    )
    dropout: float = setting(0.0, "share of the representation that the critic's fit leaves out", low=0, high=0.9)
    bank_images: int = setting(512, "training images whose places a map is compared with", low=1)
    bank_representations: int = setting(2048, "training images whose representations a map is compared with", low=1)


@dataclass
class PlantedCritic(CriticSettings):
    """The fit of such a critic."""

    steps: int = setting(3000, "optimiser steps at most; it stops when the held-out bits have stalled", low=1)
    images: int = setting(128, "images of a step: the bound of a step cannot exceed their log2", low=2)
    places: int = setting(32, "places of each image in a step, drawn anew", low=1)
    learning_rate: float = setting(
        5e-3, "of AdamW; it falls when the held-out bits have stalled", low=0, never={0: "nothing would be fitted"}
    )
    weight_decay: float = setting(0.03, "of AdamW", low=0)
    patience: int = setting(4, "estimates without more bits that count as stalled; 0: never", low=0)


@dataclass
class DataSection:
    download: bool = setting(True, "fetch what is missing (cub only)")
    segmentations: bool = setting(False, "the segmentations too (cub only)")
    address: str = setting(
        "https://data.caltech.edu/records/65de6-vp158/files", "where the archives of CUB-200-2011 lie"
    )
    check_pictures: bool = setting(
        True, "open every picture, not only the index: finds truncated files, takes a minute for CUB"
    )
