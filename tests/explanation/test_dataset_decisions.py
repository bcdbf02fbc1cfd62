"""What a table beside the pictures asks of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from milr.backbones.origins import Origin
from milr.backbones.protonet import PrototypicalNetwork
from milr.data.records import Catalogue, Record
from milr.decisions.settings import DecisionSettings
from milr.errors import MilrError
from milr.explanation.dataset_decisions import DatasetDecision, table_values
from milr.networks.settings import MetricSettings


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
