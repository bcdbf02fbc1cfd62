"""What is looked at belongs to the network that looks."""

from __future__ import annotations

import logging
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from milr.data.records import Catalogue
from milr.decisions.settings import DecisionSettings
from milr.explanation.dataset_decisions import DatasetDecision
from milr.stages.episodes import split_looked_at


def decision_about(catalogue: Catalogue, classes: list[str], name: str = "prototypes") -> DatasetDecision:
    network: Any = SimpleNamespace(classes=tuple(classes))
    return DatasetDecision(DecisionSettings(name=name), catalogue, network)


def test_classes_that_have_other_ids_since_the_network_was_trained_are_told(
    birds: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    trained = decision_about(birds, []).split_entry()["train"]
    moved = replace(birds, split=None, records=tuple(replace(r, class_id=r.class_id + 1) for r in birds.records))
    with caplog.at_level(logging.WARNING, "milr"):
        split = split_looked_at(decision_about(birds, trained))
        split_looked_at(decision_about(moved, trained), ["train"])  # which the user asked for
        split_looked_at(decision_about(moved, trained, "classes"), ["novel"])  # it knows all classes
        assert split["train"] == trained and not caplog.messages
        split_looked_at(decision_about(moved, trained))
    assert [text.partition(": the network was trained on ")[0] for text in caplog.messages] == ["validation", "novel"]
    assert "new ones: was the data set changed since" in caplog.text
