"""What a table beside the pictures asks of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import milr
from milr.backbones.origins import Origin
from milr.backbones.protonet import PrototypicalNetwork
from milr.data.records import Catalogue, Record
from milr.decisions.settings import DecisionSettings
from milr.errors import MilrError
from milr.explanation.dataset_decisions import DatasetDecision, require_answers, table_values
from milr.networks.settings import MetricSettings


class Bright(nn.Module):
    """[K, 3, 8, 8] -> [K, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.local, self.pool, self.head = nn.Conv2d(3, 8, 3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Linear(8, 4)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.pool(self.local(images)).flatten(1))


def decision_of(root: Path, **section: str) -> DatasetDecision:
    """Of three pictures each of four classes."""
    records = tuple(Record(number, root / f"{number}.jpg", number % 4, "abcd"[number % 4]) for number in range(12))
    network = PrototypicalNetwork(Origin("none", "milr", 8), nn.Flatten(), MetricSettings(), torch.zeros(1), ())
    return DatasetDecision(DecisionSettings(**section), Catalogue("folder", root, records), network)


def test_a_network_that_knows_all_classes_is_told_to_take_all(tmp_path: Path) -> None:
    images = torch.rand(2, 3, 8, 8)
    explainer = milr.MILR(Bright(), "local", "pool", images)
    with pytest.raises(MilrError, match="gives 4 numbers, and there are 2 classes .*: take decision.classes=all"):
        require_answers(decision_of(tmp_path, name="classes"), torch.arange(2), explainer, images)
    with pytest.raises(MilrError, match="there are 3 columns in the table: take decision.head=linear$"):
        require_answers(decision_of(tmp_path, name="labels"), torch.zeros(2, 3), explainer, images)


def test_what_is_of_no_use_to_pairs_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    explainer = milr.MILR(Bright(), "local", "pool", torch.rand(2, 3, 8, 8))
    decision_of(tmp_path, name="pairs").with_head(explainer, {}, torch.device("cpu"))
    assert not caplog.text
    wrong = decision_of(tmp_path, name="pairs", classes="all", head="linear")
    wrong.with_head(explainer, {}, torch.device("cpu"))
    assert "decision=pairs has no use for decision.head=linear decision.classes=all" in caplog.text


def test_a_column_with_one_value_for_every_picture_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    records = tuple(Record(number, tmp_path / f"{number}.jpg", 1, "a") for number in range(3))
    table = tmp_path / "table.csv"
    table.write_text("image,old,male\n0.jpg,1,0\n1.jpg,1,1\n2.jpg,1,0\n", encoding="utf-8")
    network = PrototypicalNetwork(Origin("none", "milr", 8), torch.nn.Flatten(), MetricSettings(), torch.zeros(1), ())
    kinds = (DecisionSettings(name=name, table=str(table)) for name in ("labels", "regression"))
    labels, numbers = (DatasetDecision(kind, Catalogue("folder", tmp_path, records), network) for kind in kinds)
    assert table_values(labels, records).tolist() == [[1, 0], [1, 1], [1, 0]]
    assert "every picture has the same value of old, so that there is nothing to decide" in caplog.text
    with pytest.raises(MilrError, match="the same value of old, .*: take it out of the table"):
        table_values(numbers, records)
