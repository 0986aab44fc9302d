"""The maximum size of documents by kind: what no reader accepts is not written either."""

from __future__ import annotations

from consumer.domain.errors import HaltError, HaltReason

MIB = 1024 * 1024
MOST_WHOLE = 64 * MIB
"""Bytes of any object that is read whole."""
_BY_NAME = {"_days.json": MIB, "_manifest.json": 8 * MIB, "_schema.json": 16 * MIB}
_BY_FOLDER = {"_seals/_settings/": 24 * MIB, "_seals/": 8 * MIB, "_replays/": 16 * MIB, "exports/": 8 * MIB}
"""Checked in this order. Parsed text can take thirty times its bytes in memory, and must fit a pod.

Keys are defined in `seal/keys`, which a store, a layer below, may not import. The folders are repeated here because
every read and write is limited; a test compares the two.
"""


def most_bytes(key: str) -> int | None:
    """The size limit of a document; None for keys that are not documents: data, old bodies."""
    if not key.endswith(".json") or (key.startswith("_replays/") and key.split("/")[3:4] == ["old"]):
        return None
    if known := _BY_NAME.get(key.rpartition("/")[2]):
        return known
    for folder, most in _BY_FOLDER.items():
        if key.startswith(folder):
            return most
    return None


def refuse_unread(key: str, where: str, size: int) -> None:
    """Called before an object is read in full. Raises HaltError for one that is too large for memory."""
    most = most_bytes(key) or MOST_WHOLE
    if size > most:
        raise HaltError(
            HaltReason.OBJECT_MISMATCH,
            f"{where} has {size:,} bytes, more than the {most:,} that such a document can have: move it out of the"
            " folder. A worker writes manifests and _days.json again; restore a seal record from a backup",
        )


def refuse_unwritten(key: str, where: str, size: int) -> None:
    """Called before an object is put. Raises HaltError for a document that could not be read again."""
    most = most_bytes(key)
    if most is not None and size > most:
        raise HaltError(
            HaltReason.OBJECT_MISMATCH,
            f"{where} would have {size:,} bytes, more than the {most:,} that can be read: nothing was written. It lists"
            " too many objects: with streams.X.oldest_day, rows of very old days go to quarantine",
        )
