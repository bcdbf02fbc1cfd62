"""What a network and its comparison of pictures are told. No torch here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class BackboneSettings:
    name: str
    weights: str


@dataclass
class MetricSettings:
    distance: str
    temperature: float
    centre: bool
