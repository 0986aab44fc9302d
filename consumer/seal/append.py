"""How the logs in the bucket grow: a record is put under its number once, by whoever is first."""

from __future__ import annotations

from consumer.domain.errors import TransientError, UnknownOutcomeError
from consumer.store.port import Absent, BytesBody, Store, Written


def put_first(store: Store, key: str, data: bytes) -> bool:
    """Put a record's text under its key: True if it is ours, False if another process was first.

    Raises TransientError; an unknown outcome is read back here.
    """
    body = BytesBody(data)
    try:
        outcome = store.put(key, body, condition=Absent(), metadata={"sha256": body.sha256})
    except UnknownOutcomeError:
        outcome = None
    if isinstance(outcome, Written):
        return True
    stored = store.get(key)
    if stored is None:
        raise TransientError(f"{key}: the write got no response and had no effect")
    return stored.data == data
