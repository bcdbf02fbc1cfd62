"""The name of a sweep's run folder: its overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from hashlib import sha256

LONGEST = 116  # characters, behind which a hash of ten may follow
READABLE = re.compile(r"[a-z0-9._+]+=[a-z0-9._+-]*")  # an override that may stand in a folder's name as it is
HASHED = re.compile(r"-[0-9a-f]{10}$")


def sweep_name(overrides: Iterable[str], left_out: Iterable[str] = ("source", "outputs")) -> str:
    """The name of a sweep's run, or of the sweep: its overrides without the keys `left_out`, in alphabetical order.

    A source run stands there under its folder's name. Any file system takes the name, and no two sets of overrides
    share one: a hash keeps them apart wherever characters had to go, capitals could be mistaken for small letters, or
    a comma stands within an override.
    """
    given = sorted(override for override in overrides if override.partition("=")[0] not in set(left_out))
    shown = ",".join(re.sub(r"(?<=^source=).*[/\\]", "", override).rstrip("'\"") for override in given)
    name = re.sub(r"[^A-Za-z0-9._=,+-]+", "_", shown)[:LONGEST].strip(" .") or "defaults"
    readable = all(READABLE.fullmatch(override) for override in given) and name == ",".join(given)
    if not given or (readable and not HASHED.search(name)):
        return name
    return f"{name}-{sha256(json.dumps(given).encode()).hexdigest()[:10]}"
