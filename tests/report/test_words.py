from __future__ import annotations

import re

from milr.evaluation.metrics import MEASURES, METRIC_KINDS
from milr.report.words import WORDS, anchor, linked

SHOWN = ("regions", "parts", "groups", "curves")  # what milr evaluate takes a map against


def test_every_metric_of_a_report_is_explained_in_the_order_of_the_alphabet() -> None:
    assert {name for name, kind in METRIC_KINDS.items() if kind.over in SHOWN} <= WORDS.keys()
    assert MEASURES.keys() - {"loss"} <= WORDS.keys()
    assert list(WORDS) == sorted(WORDS)


def test_a_word_is_linked_where_it_stands_first() -> None:
    text = linked("Rank accuracy, accuracy and <mass>; massive mass of critic.steps, intervals.")
    links = re.findall(r'<a class="word" href="#(.*?)">(.*?)</a>', text)
    assert links == [
        (anchor("rank accuracy"), "Rank accuracy"),
        ("word-accuracy", "accuracy"),
        ("word-mass", "mass"),
        ("word-interval", "intervals"),
    ]
    assert "&lt;" in text and "massive" in text
