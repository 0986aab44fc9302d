"""`check`: personal columns without a rule, quarantine despite rules, and the keys that old rows still need."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from consumer.commands.check.line import Line, failed, ok, warning
from consumer.domain.errors import HaltError, TransientError
from consumer.seal.inspection import Outlook
from consumer.seal.log import get_rules
from consumer.settings.model import Settings, StreamSettings
from consumer.shape.privacy import lacks_key
from consumer.store.port import Store
from consumer.streams.columns import columns_of
from consumer.streams.rules import Privacy

_PERSONAL_WORDS = frozenset({"id", "ip", "email", "token", "agent", "attributes"})
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


def privacy_lines(settings: Settings, stream: StreamSettings) -> Iterator[Line]:
    """What the settings of one stream leave open."""
    subject, rules = f"stream {stream.name}", stream.rules.privacy.columns
    open_columns = [name for name in personal_looking(stream) if name not in rules]
    if open_columns:
        yield warning(
            subject,
            "personal columns",
            f"{', '.join(open_columns)} look personal and are written unchanged",
            f"add a rule for them in [streams.{stream.name}.privacy] columns, unless that is intended",
        )
    if rules and settings.quarantine.value == "keep":
        yield warning(
            subject,
            "quarantine",
            "quarantined records are kept in full, including the columns with privacy rules",
            'write value = "omit" in [quarantine], unless that is intended',
        )


def personal_looking(stream: StreamSettings) -> list[str]:
    """The columns of a stream that are about a person, or are named as if they were; not its time field."""
    names = [column.name for column in columns_of(stream.rules)]
    shipped = bool(stream.personal)
    return [
        name
        for name in names
        if name != stream.rules.time_field and (name in stream.personal or (not shipped and looks_personal(name)))
    ]


def looks_personal(name: str) -> bool:
    """Whether a column's name has a word of those that name persons' data."""
    return not _PERSONAL_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))


def _needed(store: Store, outlook: Outlook) -> Iterator[Privacy]:
    """The hashing rules that apply, or will apply, to a partition's rows above its resume offset."""
    chain = outlook.found.chain if outlook.found is not None else None
    if chain is None or chain.empty:
        return
    for digest in sorted({record.settings for record in chain.records if record.through > chain.head.resume}):
        privacy = get_rules(store, digest, outlook.partition).privacy
        if privacy.key is not None:
            yield privacy


def key_lines(settings: Settings, stream: StreamSettings, store: Store, outlooks: Iterable[Outlook]) -> Iterator[Line]:
    """The keys that rows of this stream still need: today's, and those of rows that an open day may ask for again."""
    keys, subject = settings.privacy.key_bytes(), f"stream {stream.name}"
    try:
        needed = {privacy.key: privacy for outlook in outlooks for privacy in _needed(store, outlook)}
    except (HaltError, TransientError) as error:
        yield failed(subject, "privacy keys", str(error), "see that line, then check again")
        return
    for privacy in needed.values():
        name = f"{privacy.key} (fingerprint {privacy.fingerprint})"
        if (why := lacks_key(privacy, keys)) is None:
            yield ok(subject, "privacy keys", f"rows that are not yet sealed need {name}, which is set")
        else:
            yield failed(
                subject,
                "privacy keys",
                f"rows that are not yet sealed need {name}, but {why}",
                "put that key back into [privacy.keys] under its name",
            )
