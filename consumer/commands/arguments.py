"""Arguments shared by commands: days, streams and partitions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from consumer.domain.days import FIRST_DAY, day_from
from consumer.domain.errors import UsageError
from consumer.domain.offsets import TopicPartition
from consumer.settings.model import Settings, StreamSettings

MOST_DIGITS = 9
"""Of a partition's number: Kafka's have 31 bits."""


def day_of(option: str, text: str | None) -> date | None:
    """The UTC day that an option names, or None if it was not given. Raises UsageError."""
    if text is None:
        return None
    try:
        day = day_from(text)
    except ValueError as error:
        raise UsageError(f"{option}: {text!r} is not a day; write e.g. 2026-11-21") from error
    if day < FIRST_DAY:
        raise UsageError(f"{option}: {day} is too early: no row is older than {FIRST_DAY}")
    return day


def streams_of(settings: Settings, names: Sequence[str]) -> list[StreamSettings]:
    """The streams that --stream names, each once; all of them where it was not given. Raises UsageError."""
    known = {stream.name: stream for stream in settings.streams}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--stream: no stream {', '.join(unknown)}; the settings have {', '.join(known)}")
    return [known[name] for name in dict.fromkeys(names)] or list(settings.streams)


def partition_of(text: str) -> TopicPartition:
    """TOPIC:PARTITION. Raises UsageError."""
    topic, _, number = text.rpartition(":")
    if not topic or not (number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS):
        raise UsageError(f"{text!r} is not a partition; write TOPIC:PARTITION, e.g. adapty.events:3")
    return TopicPartition(topic, int(number))
