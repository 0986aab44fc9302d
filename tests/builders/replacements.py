"""Records of the replacement log for tests: a replay of one day without objects, unless the test says otherwise."""

from __future__ import annotations

from typing import Any

from consumer.seal.replacements.record import NewObject, Replacement, ReplacementKind
from tests.builders.chains import RULES, at, day


def replacement(**changes: Any) -> Replacement:
    """Record 0 of stream `s`, a replay of day 0."""
    days = changes.get("days", (day(0),))
    fields: dict[str, Any] = {
        "kind": ReplacementKind.REPLAY,
        "n": 0,
        "stream": "s",
        "first": days[0],
        "last": days[-1],
        "days": days,
        "partitions": None,
        "settings": RULES.digest,
        "previous_sha256": None,
        "objects": (),
        "unchanged": 0,
        "kept_old": True,
        "replaced_at": at(5),
        "writer": "w",
    }
    return Replacement(**{**fields, **changes})


def anew(entry: Any, sha256: str = "new", **changes: Any) -> NewObject:
    """An object that a replacement puts or adds."""
    fields = {"partition": 0, "settings": RULES.digest, "size": 9, "sha256": sha256, "former": None}
    return NewObject(entry, **{**fields, **changes})
