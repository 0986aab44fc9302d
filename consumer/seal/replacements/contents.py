"""Which of the bodies written under a key is there now: the seal's, or that of a replacement."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consumer.domain.json_fields import number_in
from consumer.seal.day_plan import StoredContent
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements.log import Listed, Replacements
from consumer.store.port import ObjectInfo, Store

Digest = Callable[[str], tuple[int, str]]
"""Size and sha256 of a stored object, by reading it: for stores that keep no metadata."""


def by_record(replacements: Replacements) -> dict[str, StoredContent]:
    """The contents of each object once no replacement is half done: those of the newest that lists it."""
    return {key: _held(listed) for key, listed in replacements.newest.items()}


def as_it_lies(
    store: Store, key: str, sealed: ObjectEntry | None, listed: Sequence[Listed], digest: Digest
) -> StoredContent | None:
    """Which body is under the key at this moment; None if there is no object.

    `sealed` is the seal's entry for it (None: a replacement added it), `listed` the entries of replacements, oldest
    first.
    """
    facts = store.head(key)
    if facts is None:
        return None
    written = written_by(facts, listed, digest if not store.keeps_metadata else None)
    if written is not None:
        return _held(written)
    return StoredContent(sealed) if sealed is not None else None


def written_by(facts: ObjectInfo, listed: Sequence[Listed], digest: Digest | None) -> Listed | None:
    """The replacement that wrote the stored body; None if its seal did.

    By its metadata; with `digest`, for a store that keeps none, by its sha256.
    """
    if digest is not None:
        sha256 = digest(facts.key)[1]
        return next((one for one in reversed(listed) if one.new.sha256 == sha256), None)
    n = number_in(facts.metadata.get("replay", ""))
    return next((one for one in listed if one.n == n), None)


def _held(listed: Listed) -> StoredContent:
    return StoredContent(listed.new.entry, listed.n, listed.new.settings, listed.new.columns)
