"""What a network decides about the pictures of a data set: the table of the kinds that `decision=` names."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from milr.backbones.protonet import PrototypicalNetwork
from milr.data.pictures import Pictures
from milr.data.records import Catalogue, Record
from milr.data.split import divided, of_split, split_of
from milr.data.tables import PAIRS, TARGETS, read_pairs, read_targets, table_beside
from milr.decisions.comparisons import pairs
from milr.decisions.decision_kinds import classify, multilabel, regress
from milr.decisions.heads import linear_head
from milr.decisions.questions import Question, episodes, of_classes, of_pairs, single
from milr.decisions.settings import DecisionSettings
from milr.errors import MilrError
from milr.explanation.milr import MILR
from milr.text import first_few

log = logging.getLogger("milr")

USUAL = DecisionSettings()


@dataclass(frozen=True)
class Batches:
    """How batches are to be: an episode's shape; of the other kinds how many pictures, and how many of each class."""

    shape: tuple[int, int, int]
    size: int
    each: int
    seed: int


@dataclass(frozen=True)
class DatasetDecision:
    """A decision about the pictures of a data set."""

    section: DecisionSettings
    catalogue: Catalogue  # whole
    network: PrototypicalNetwork
    head: nn.Linear | None = None

    @property
    def row(self) -> Row:
        """Of the table."""
        return ROWS[self.section.name]

    def title(self, shape: tuple[int, int]) -> str:
        """What was decided, for titles."""
        if self.section.name == "prototypes":
            return f"{shape[0]}-way {shape[1]}-shot"
        return self.section.name + ("" if self.row.score == "accuracy" else f", accuracy is {self.row.score}")

    @property
    def table(self) -> Path | None:
        """The file that says what is right, where there is one. MilrError for one that is named and not there."""
        name = self.row.table
        return table_beside(self.catalogue.root, self.section.table, name) if name else None

    @property
    def part(self) -> str:
        """What a split is a part of."""
        return "pictures" if self.row.divided else "split"

    def question(self, batches: Batches) -> Question:
        """Which pictures make a batch, and what is decided about them."""
        return self.row.question(self, batches)

    def split_entry(self, names: Sequence[str] = ("train", "validation", "novel")) -> dict[str, list[str]]:
        """The manifest's `split`: the classes of each part, or where the pictures are divided their files."""
        parts = {name: part(self.section, self.catalogue, name) for name in names}
        if not self.row.divided:
            return {name: [*part.class_names.values()] for name, part in parts.items()}
        root = self.catalogue.root
        return {name: [str(record.path.relative_to(root)) for record in part.records] for name, part in parts.items()}

    def with_head(self, explainer: MILR, pictures: Mapping[str, Pictures], device: torch.device) -> DatasetDecision:
        """With a head fitted to the network's embeddings, where the section wants one. MilrError for an own that cannot
        be."""
        if not self.row.targets:
            unused = [name for name in ("head", "classes") if getattr(self.section, name) != getattr(USUAL, name)]
            if unused:
                words = " ".join(f"decision.{name}={getattr(self.section, name)}" for name in unused)
                log.warning("decision=%s has no use for %s: see milr fit-milr --help", self.section.name, words)
            return self
        targets = {name: self.row.targets(self, pictures[name].records) for name in ("train", "validation")}
        if self.section.head == "own":
            require_answers(self, targets["train"], explainer, next(pictures["train"].batches(device, 2)))
            return self
        data = {name: (outputs(explainer, pictures[name], device), targets[name].to(device)) for name in targets}
        return replace(self, head=linear_head(self.section.name, data["train"], data["validation"]))

    def state(self) -> dict[str, Any]:
        """What a checkpoint needs of it."""
        state: dict[str, Any] = {"head": self.head.state_dict()} if self.head else {}
        return state | ({"classes": class_list(self)} if self.section.name == "classes" else {})


def part(section: DecisionSettings, catalogue: Catalogue, name: str) -> Catalogue:
    """The pictures of a split: of its classes, or where the network knows the classes, of them all a part."""
    if not ROWS[section.name].divided:
        return of_split(catalogue, name)
    known = catalogue if section.classes == "all" else of_split(catalogue, "train")
    if section.name == "classes" and len(known.class_names) < 2:
        raise MilrError(
            f"decision=classes needs two classes, and decision.classes={section.classes} has {len(known.class_names)} "
            f"of the {len(catalogue.class_names)} in {catalogue.root}: take decision.classes=all, or add classes"
        )
    return divided(known, name)


@torch.no_grad()
def outputs(explainer: MILR, pictures: Pictures, device: torch.device) -> Tensor:
    """The network's outputs [n, E] for all pictures."""
    return torch.cat([explainer.layers.first_pass(images).output.float() for images in pictures.batches(device)])


def require_answers(decision: DatasetDecision, targets: Tensor, explainer: MILR, images: Tensor) -> None:
    """MilrError where the network's own output is no answer for every class, or column of a table."""
    with torch.no_grad():
        given = explainer.layers.first_pass(images).output.shape[-1]
    classes = decision.section.name == "classes"
    wanted = int(targets.max()) + 1 if classes else targets.shape[1]
    if given != wanted:
        what = f"classes (decision.classes={decision.section.classes})" if classes else "columns in the table"
        way_out = "decision.head=linear" + ", or backbone.head=keep with the data set it was trained on" * classes
        if classes and given == len(decision.catalogue.class_names):
            way_out = "decision.classes=all, of which there are as many, or decision.head=linear"
        raise MilrError(
            f"decision.head=own: the network gives {given} numbers, and there are {wanted} {what}: take {way_out}"
        )


# The kinds: each a question, and what a linear head is fitted to.


def of_episodes(decision: DatasetDecision, batches: Batches) -> Question:
    """Queries against the prototypes of their episode."""
    network = decision.network
    return episodes(batches.shape, network.metric, network.mean, batches.seed)


def class_numbers(decision: DatasetDecision, records: Sequence[Record]) -> Tensor:
    """The class of each picture, as the network counts them: in the order of their ids."""
    number = {name: place for place, name in enumerate(class_list(decision))}
    return torch.tensor([number[record.class_name] for record in records])


def class_list(decision: DatasetDecision) -> list[str]:
    """The classes' names in that order."""
    names = decision.catalogue.class_names
    ids = names if decision.section.classes == "all" else split_of(decision.catalogue).train
    return [names[class_id] for class_id in ids]


def of_class_numbers(decision: DatasetDecision, batches: Batches) -> Question:
    """The class of each picture."""
    return single(
        batches.size,
        batches.seed,
        lambda records: classify(class_numbers(decision, records), decision.head),
        class_list(decision),
    )


def table_values(decision: DatasetDecision, records: Sequence[Record]) -> Tensor:
    """The numbers of a table for each picture [n, M]."""
    root, section, table = decision.catalogue.root, decision.section, decision.table
    if table is None:
        raise MilrError(f"decision={section.name} needs {root / TARGETS}, or decision.table=: image, and values")
    columns, values = read_targets(table, records, root)
    given = torch.tensor([values[record.path] for record in records])
    if same := [name for name, column in zip(columns, given.T, strict=True) if bool((column == column[0]).all())]:
        problem = f"{table}: every picture has the same value of {first_few(same)}, so that there is nothing to decide"
        if section.name == "regression":
            raise MilrError(f"{problem}: take it out of the table")
        log.warning(problem)  # a network may have an output for this label, so that its column must stay
    if section.name == "labels" and not ((given == 0) | (given == 1)).all():
        raise MilrError(f"{table} has other values than 0 and 1, the labels that a picture has not and has")
    return given


def of_table(decision: DatasetDecision, batches: Batches, kind: Callable[..., Any]) -> Question:
    """The numbers of a table, each table read once."""
    parts = [part(decision.section, decision.catalogue, name).records for name in ("train", "validation", "novel")]
    records = [record for each in parts for record in each]
    known = dict(zip([record.path for record in records], table_values(decision, records), strict=True))
    own = {}
    if decision.section.name == "regression":
        own = {"spread": torch.stack([known[record.path] for record in parts[0]]).std(0, correction=0)}

    def ask(records: Sequence[Record]) -> Any:
        """The decision about these pictures."""
        return kind(torch.stack([known[record.path] for record in records]), decision.head, **own)

    return single(batches.size, batches.seed, ask)


def of_alike(decision: DatasetDecision, batches: Batches) -> Question:
    """Which pictures are alike: by a table, or of one class."""
    ask, root = (
        partial(pairs, temperature=decision.section.temperature, kind=decision.section.kind),
        decision.catalogue.root,
    )
    if table := decision.table:
        known = read_pairs(table, decision.catalogue.records, root)
        return of_pairs(batches.size, batches.seed, known, lambda records, same: ask(same))
    return of_classes(
        batches.size, batches.each, batches.seed, lambda records: ask([record.class_id for record in records])
    )


@dataclass(frozen=True)
class Row:
    """A row of ROWS."""

    question: Callable[[DatasetDecision, Batches], Question]
    score: str  # what "accuracy" is of it in tables and charts
    divided: bool = False  # whether each class's pictures are divided, and not the classes
    targets: Callable[[DatasetDecision, Sequence[Record]], Tensor] | None = (
        None  # of a head: class numbers [n], or [n, M]
    )
    without: tuple[str, ...] = ()  # baselines that explain a choice among classes, which this is none
    table: str = ""  # the file in the data set's folder that says what is right


ROWS = {
    "prototypes": Row(of_episodes, "accuracy"),
    "classes": Row(of_class_numbers, "accuracy", True, class_numbers),
    "labels": Row(partial(of_table, kind=multilabel), "shared labels", True, table_values, ("iba",), TARGETS),
    "regression": Row(partial(of_table, kind=regress), "R²", True, table_values, ("iba",), TARGETS),
    "pairs": Row(of_alike, "Recall@1", table=PAIRS),
}
