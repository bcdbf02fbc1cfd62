"""Worlds whose information I(x_i; z) is known at every place: `milr calibrate` holds the estimate against it."""

from __future__ import annotations

from milr.checks.drawn_symbols import drawn_symbols
from milr.checks.gaussian_fields import gaussian_fields

WORLDS = {"fields": gaussian_fields, "symbols": drawn_symbols}
