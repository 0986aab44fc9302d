"""The sink's own documents in the bucket: is the text still the one that was written?"""

from __future__ import annotations

import hashlib
from typing import Any

import orjson

from consumer.store.port import Stored

MANY_DIGITS = 64


def unlike_written(stored: Stored) -> str:
    """How the text differs from what the sink writes; "" if it does not.

    The digest in the metadata shows it, if the store keeps metadata. In any store the text must have the sink's
    formatting.
    """
    said = stored.facts.metadata.get("sha256", "")
    found = hashlib.sha256(stored.data).hexdigest()
    if said and said != found:
        return f"it was altered: its sha256 is {found}, it was written with {said}"
    try:
        same = orjson.dumps(orjson.loads(stored.data), option=orjson.OPT_INDENT_2) == stored.data
    except ValueError:
        return "it is not JSON"
    return "" if same else "it was altered: its format is not that of the sink"


def without_metadata(stored: Stored, *, keeps_metadata: bool) -> str:
    """Why something else must have written it: it lacks the digest in its metadata. "" if all is well."""
    if keeps_metadata and len(stored.facts.metadata.get("sha256", "")) != MANY_DIGITS:
        return "it was rewritten by something else: its metadata has no sha256"
    return ""


def parsed(data: bytes) -> dict[str, Any]:
    """The document as a mapping. Raises ValueError if it is not valid."""
    raw = orjson.loads(data)
    if not isinstance(raw, dict):
        raise TypeError("not a JSON object")
    return raw
