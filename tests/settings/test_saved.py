"""Settings as runs saved them, read again."""

from pathlib import Path

import pytest

from milr.errors import MilrError
from milr.settings.saved import settings_from
from milr.settings.schema import FitMilr


def test_a_value_of_another_kind_is_one_line_with_its_key() -> None:
    saved = {"dataset": {"name": "synthetic"}, "milr": {"alpha": [1, 2]}}
    with pytest.raises(MilrError) as told:
        settings_from(FitMilr, saved, Path("config.yaml"))
    assert str(told.value).startswith("config.yaml is of another version of milr, or was edited: start a new run (")
    assert "milr.alpha: Value '[1, 2]'" in str(told.value) and "\n" not in str(told.value)
