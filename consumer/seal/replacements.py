"""The replay log of a stream: what an object holds is said by the newest replay that lists it, else by its seal."""

from __future__ import annotations

import orjson

from consumer.domain import json_fields
from consumer.domain.errors import HaltError, HaltReason
from consumer.seal.keys import replay_prefix
from consumer.seal.record import ObjectEntry, entry_from
from consumer.store.port import Store

REPLAY_VERSION = 1


def replaced_objects(store: Store, stream: str) -> dict[str, ObjectEntry]:
    """Objects as replays left them, by key; the newest replay wins. Raises HaltError where the log cannot be read."""
    found: dict[str, ObjectEntry] = {}
    for facts in store.list(replay_prefix(stream)):
        stored = store.get(facts.key)
        try:
            raw = json_fields.table(orjson.loads(stored.data) if stored else {}, "a replay")
            if json_fields.whole(raw, "version") > REPLAY_VERSION:
                raise HaltError(
                    HaltReason.CHAIN_NEWER, f"{facts.key} was written by a newer release: deploy that release again"
                )
            entries = [entry_from(entry) for entry in json_fields.tables(raw, "objects")]
        except (KeyError, ValueError) as error:
            raise HaltError(
                HaltReason.CHAIN_DAMAGED, f"{facts.key} cannot be read: restore it from a backup or an older version"
            ) from error
        found.update({entry.key: entry for entry in entries})
    return found
