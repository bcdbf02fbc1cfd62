"""A fit with everything that a report tells of, written without fitting anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from made_runs import make_run

from milr.checks.calibration import Calibration, PlacePoint
from milr.checks.sanity import SanityRow
from milr.decisions.answers import DECISIONS, DISTANCE, Answer
from milr.evaluation.metrics import Metric
from milr.evaluation.tables import Measurement, compare, summarise, write_csv
from milr.explanation.maps import Maps
from milr.figures.columns import Column
from milr.figures.export import save_maps, save_table

CLASSES = ("002.Tree_Creeper", "004.Hedge_<Sparrow>")
CAP = 5.0
FACTS = {"seed": 0, "milr": "0.2.0", "versions": {"torch": "2.4"}, "git": None, "host": {"device": "cpu"}}


def some_maps(count: int, seed: int = 0) -> Maps:
    """Maps whose values are known: total = kept + redundant, the decision high where the total is low."""
    generator = torch.Generator().manual_seed(seed)
    total = 4 * torch.rand(count, 6, 8, generator=generator)
    kept = total * torch.rand(count, 6, 8, generator=generator) * 1.2
    decision = 40 - 8 * total
    return Maps(total, kept, total - kept, decision, kept / total, torch.zeros(count, 3), CAP)


def draw(folder: Path, pictures: int, size: int = 48) -> None:
    """What `milr visualize` leaves of one episode: supports, then queries, the last one wrong.

    Through the mask the second query is taken for another class, and the last one for its own.
    """
    scene = folder / "episode_000"
    scene.mkdir()
    images = torch.randint(
        256, (pictures, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )
    names = [CLASSES[number % 2] for number in range(pictures)]
    files = [f"/birds/{number}.jpg" for number in range(pictures)]
    columns = [Column("support", name) for name in names[:2]]
    columns += [Column("query", name, name, masked=name, masked_right=True, masked_share=1.0) for name in names[2:-1]]
    columns[3] = replace(columns[3], masked=CLASSES[0], masked_right=False, masked_share=0.75)
    last = names[-1]
    columns.append(Column("query", last, CLASSES[pictures % 2], masked=last, masked_right=True, masked_share=1.0))
    maps = some_maps(pictures)
    save_maps(scene / "maps.npz", images, maps, names, files)
    save_table(scene / "maps.csv", maps, columns, files)
    other = dict(zip(CLASSES, reversed(CLASSES), strict=True))
    answers = [
        Answer(number, files[number], float(column.predicted == column.name), name, distance, DISTANCE)
        for number, column in enumerate(columns)
        if column.predicted
        for name, distance in ((column.predicted, 0.1), (other[column.predicted], 0.7))
    ]
    write_csv(scene / DECISIONS, answers)


def measurements(centre: float | None = None) -> list[Measurement]:
    """Twenty pictures: 20 % of the places by the decision map keep 0.9 of the decisions, random ones 0.3.

    centre: what those by that control keep, where it is measured.
    """
    rows = []
    wanted = {"decision": 0.9, "total": 0.5, "redundant": 0.4, "random": 0.3}
    wanted |= {} if centre is None else {"centre": centre}
    for name, share in wanted.items():
        for number in range(20):
            right = float(number < share * 20)
            values = {
                Metric("untouched", "", "accuracy"): (1.0, 0.2),
                Metric("keep", "", "accuracy", 0.2): (right, 0.2),
                Metric("keep", "", "accuracy", 0.5): (1.0, 0.2),
                Metric("remove", "", "accuracy", 0.2): (1 - right, 0.2),
                Metric("remove", "", "accuracy", 0.5): (0.0, 0.2),
                Metric("area", "", "accuracy"): (right - 0.5, float("nan")),
                Metric("pointing", "box"): (right, 0.35),
                Metric("percentile", "beak"): (share, 0.5),
            }
            rows += [Measurement(name, number // 5, f"{number}.jpg", m, *value) for m, value in values.items()]
    return rows


def sanity_rows() -> list[SanityRow]:
    """Three checks of the decision map, and two numbers of the estimate."""
    rows = [
        SanityRow(check, variant, "decision", "rank correlation", value, value - 0.05, value + 0.05, 10, wanted)
        for check, variant, value, wanted in (
            ("seeds", "seed 1", 0.9, "at least 0.8"),
            ("labels", "support labels permuted", 0.3, "well under the seeds'"),
            ("cascade", "random layer4", 0.2, "well under the seeds'"),
        )
    ]
    for variant, measure, value, wanted in (
        ("null", "bits", 0.01, "0 ± 0.05"),
        ("novel", "saturation", 0.9, "under 0.8"),
    ):
        rows.append(SanityRow("estimator", variant, "total", measure, value, value, value, 10, wanted))
    return rows


def calibrate(outputs: Path) -> Path:
    """A calibration whose slope is 0.95."""
    folder = make_run(outputs, "calibrate", "planted")
    fit = ("fields", "infonce", "representations")
    numbers = 0.95, 0.01, 0.02, 0.1, 0.3, 0.2, 2.0, 1.9, 1.8  # slope, intercept, empty places, ...
    rows = [Calibration(*fit, reading, reading == "sample", *numbers) for reading in ("sample", "place")]
    places = [PlacePoint(*fit, "sample", row, 0, 1.0 * row, 0.95 * row, 0.9 * row, row, 0.1) for row in range(5)]
    write_csv(folder / "calibrate.csv", rows)
    write_csv(folder / "places.csv", places)
    return folder


def fitted(outputs: Path, name: str = "fit", pictures: int = 6, stages: Sequence[str] = (), **settings: object) -> Path:
    """A fit with its maps drawn, and what else is asked for."""
    network = outputs / "train_protonet" / "network"
    if not network.exists():
        make_run(outputs, "train_protonet", "network", command="milr train-protonet", **FACTS)
    result = {
        "validation": {"accuracy": 0.75, "untouched_accuracy": 0.8},
        "critic": {"bits": 2.5, "step": 800, "steps": 1000, "last_quarter_gain": 0.004},
    }
    of_fit = {"command": "milr fit-milr", "settings": settings, "result": result, **FACTS}
    fit = make_run(outputs, "fit_milr", name, network, **of_fit)
    draw(make_run(outputs, "visualize", f"maps of {name}", fit, command="milr visualize", **FACTS), pictures)
    if "evaluate" in stages:
        folder = make_run(outputs, "evaluate", f"numbers of {name}", fit, **FACTS)
        rows = measurements(centre=0.4)
        write_csv(folder / "results.csv", summarise(rows, "birds"))
        write_csv(folder / "paired.csv", compare(rows, "birds", ("decision", "redundant")))
    if "sanity" in stages:
        write_csv(make_run(outputs, "sanity", f"checks of {name}", fit, **FACTS) / "sanity.csv", sanity_rows())
    return fit
