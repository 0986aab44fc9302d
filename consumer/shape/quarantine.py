"""Records that cannot become a row, as JSON Lines: what Kafka had, and why it is here."""

from __future__ import annotations

from base64 import b64encode

import orjson

from consumer.domain.batches import RawBatch


def quarantine_line(batch: RawBatch, place: int, reason: str) -> bytes:
    """The line for the record at `place` of the batch. A timestamp is null where the record has none."""
    timestamp = batch.timestamps[place]
    return orjson.dumps(
        {
            "reason": reason,
            "topic": batch.partition.topic,
            "partition": batch.partition.partition,
            "offset": batch.offsets[place],
            "timestamp": timestamp if timestamp >= 0 else None,
            "key": _base64(batch.keys[place]),
            "value": _base64(batch.values[place]),
        },
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()
