"""Compares fitted MI-LR modules on drawn birds, where the truth is known: which maps lie on the defining parts?

    python scripts/compare_readings.py outputs/fit_milr_sweeps/<sweep>/*

One row a fit: the decision kept on validation episodes, and, over the validation species, how well the decision map and
the mask find the parts that define the species, and how much of the redundant map lies on the bird's other parts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from milr.backbones.protonet import PrototypicalNetwork
from milr.data.augmentation import to_input
from milr.data.pictures import load_pictures
from milr.data.split import of_split
from milr.data.synthetic import read_synthetic
from milr.evaluation.location import mass_share, pointing_hit, rank_accuracy
from milr.evaluation.regions import framing_of, regions_of
from milr.explanation.maps import stack
from milr.explanation.milr import MILR
from milr.runs.checkpoints import load_checkpoint
from milr.runs.sources import find_parent, find_source
from milr.stages.devices import example_images

IMAGES = 200


def measure(folder: Path) -> dict[str, float]:
    """The row of one fit."""
    run = find_source(folder.parent, "fit_milr", str(folder))
    dataset = run.config["dataset"]
    drawing = {key: dataset[key] for key in ("species", "images_per_species", "picture_size", "seed")}
    records = of_split(read_synthetic(Path(dataset["root"]), **drawing), "validation").records
    order = torch.randperm(len(records), generator=torch.Generator().manual_seed(0))[:IMAGES].tolist()
    pictures = load_pictures([records[index] for index in order], dataset["size"], dataset["crop"])
    network = PrototypicalNetwork.from_state(load_checkpoint(find_parent(run).checkpoint, "protonet"))
    example = example_images(dataset["size"], torch.device("cpu"))
    explainer = MILR.load(network.network, load_checkpoint(run.checkpoint, "milr"), example)
    maps = stack([explainer.maps(to_input(part)) for part in pictures.images.split(20)])
    size = (maps.total.shape[1], maps.total.shape[2])
    rows = []
    for number, record in enumerate(pictures.records):
        regions = regions_of(record, framing_of(record, dataset["crop"], dataset["size"]), size)
        defining, other = regions["defining"], regions["other"]
        rows.append(
            [
                rank_accuracy(maps.decision[number], defining, number),
                pointing_hit(maps.decision[number], defining, number),
                rank_accuracy(maps.mask[number], defining, number),
                rank_accuracy(maps.total[number], defining | other, number),
                mass_share(maps.redundant[number], other),
                mass_share(maps.redundant[number], defining),
                float(defining.double().mean()),
                float((defining | other).double().mean()),
            ]
        )
    names = "decision rank,decision pointing,mask rank,total rank on bird,redundant on others,redundant on defining"
    columns = [*names.split(","), "chance defining", "chance bird"]
    found = dict(zip(columns, torch.tensor(rows).double().nanmean(0).tolist(), strict=True))
    terms = run.manifest["result"]["validation"]
    kept = {name: terms[name] for name in ("untouched_accuracy", "accuracy", "mask_mean", "decision_bits")}
    return kept | found


def main() -> None:
    """Prints the table as Markdown."""
    # A sweep's folder also holds its report and what it keeps of each job.
    runs = [Path(name) for name in sys.argv[1:] if (Path(name) / "manifest.json").is_file()]
    for number, folder in enumerate(runs):
        row = measure(folder.absolute())
        if not number:
            print("| fit | " + " | ".join(row) + " |\n" + "| --- " * (len(row) + 1) + "|")
        print(f"| {folder.name} | " + " | ".join(f"{value:.3f}" for value in row.values()) + " |", flush=True)


if __name__ == "__main__":
    main()
