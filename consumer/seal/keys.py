"""The keys of the destination's folder. All keys are made and taken apart here and nowhere else."""

from __future__ import annotations

import re
from datetime import date

from consumer.domain.compression import SUFFIXES, Compression
from consumer.domain.days import day_from
from consumer.domain.offsets import TopicPartition

SETTINGS_PREFIX = "_seals/_settings/"
"""The folder of row rules."""
_ENDINGS = "|".join(map(re.escape, SUFFIXES.values()))
_PARTITION = "0|[1-9][0-9]{0,9}"
_DATA = re.compile(rf"([A-Za-z0-9._-]{{1,249}})-({_PARTITION})-([0-9]{{20}})\.csv(?:{_ENDINGS})")
_NUMBER = re.compile(_PARTITION)
_RECORD = re.compile(r"([0-9]{8,20})\.json")


def stream_folder(stream: str) -> str:
    """The folder of a stream's days."""
    return f"{stream}/"


def quarantine_folder(stream: str) -> str:
    """The folder of a stream's quarantined records, day by day."""
    return f"_quarantine/{stream}/"


def day_folder(stream: str, day: date) -> str:
    """The folder of one day's data."""
    return f"{stream_folder(stream)}{_day_part(day)}"


def _day_part(day: date) -> str:
    return f"dt={day.isoformat()}/"


def day_of(rest: str) -> date | None:
    """The day of a key, of which `rest` follows the stream's or the quarantine's folder; None if it is in no day's."""
    folder, slash, _ = rest.partition("/")
    try:
        return day_from(folder.removeprefix("dt=")) if slash and folder.startswith("dt=") else None
    except ValueError:
        return None


def day_within(key: str) -> date | None:
    """The day of a data or quarantine object by its whole key, or by that of a kept body; None if it is in no day's."""
    _, slash, rest = key.partition("/dt=")
    return day_of(f"dt={rest}") if slash else None


def data_key(stream: str, day: date, partition: TopicPartition, through: int, compression: Compression) -> str:
    """The data object of one seal of one partition for one day."""
    name = f"{partition.topic}-{partition.partition}-{through:020d}.csv{SUFFIXES[compression]}"
    return day_folder(stream, day) + name


def object_keys(
    stream: str, day: date, partition: TopicPartition, through: int, *, quarantine: bool
) -> tuple[str, ...]:
    """All keys that an object of this seal and day can have, whatever the compression."""
    if quarantine:
        return (quarantine_key(stream, day, partition, through),)
    return tuple(data_key(stream, day, partition, through, compression) for compression in SUFFIXES)


def seal_of(name: str) -> tuple[TopicPartition, int] | None:
    """The partition of the seal that put this data object, and the end of its offsets, by the name without its folder.

    None if no data object has such a name.
    """
    found = _DATA.fullmatch(name)
    return (TopicPartition(found[1], int(found[2])), int(found[3])) if found else None


def quarantine_key(stream: str, day: date, partition: TopicPartition, through: int) -> str:
    """The quarantine object of one seal of one partition for one day; never compressed."""
    return f"{quarantine_folder(stream)}{_day_part(day)}{partition.topic}-{partition.partition}-{through:020d}.jsonl"


def manifest_key(stream: str, day: date) -> str:
    """What the day consists of."""
    return day_folder(stream, day) + "_manifest.json"


def success_key(stream: str, day: date) -> str:
    """The empty mark that the day is closed."""
    return day_folder(stream, day) + "_SUCCESS"


def days_key(stream: str) -> str:
    """The list of the newest published days."""
    return stream_folder(stream) + "_days.json"


def schema_key(stream: str) -> str:
    """The folder's list of columns."""
    return stream_folder(stream) + "_schema.json"


def chains_prefix(topic: str) -> str:
    """The folder of the seal logs of all partitions of a topic."""
    return f"_seals/{topic}/"


def chain_prefix(partition: TopicPartition) -> str:
    """The folder of one partition's seal log."""
    return f"{chains_prefix(partition.topic)}{partition.partition}/"


def record_key(partition: TopicPartition, n: int) -> str:
    """Record `n` of the seal log."""
    return f"{chain_prefix(partition)}{n:08d}.json"


def record_number(name: str) -> int | None:
    """The number of a record of the seal log or the replacement log, by the name without its folder.

    None if no record has such a name.
    """
    found = _RECORD.fullmatch(name)
    return int(found[1]) if found else None


def record_of(topic: str, key: str) -> tuple[TopicPartition, int] | None:
    """The partition and the number of a record of the seal log by its key; None if it is none."""
    folder, _, name = key.removeprefix(chains_prefix(topic)).partition("/")
    number = record_number(name)
    if number is None or not _NUMBER.fullmatch(folder):
        return None
    return TopicPartition(topic, int(folder)), number


def settings_key(digest: str) -> str:
    """The row rules that records name by their digest."""
    return f"{SETTINGS_PREFIX}{digest}.json"


def replacement_prefix(stream: str) -> str:
    """The folder of a stream's replacement log."""
    return f"_replays/{stream}/"


def export_key(stream: str, name: str) -> str:
    """A file of a manual export, or its facts."""
    return f"exports/{stream}/{name}"


def replacement_key(stream: str, n: int) -> str:
    """Record `n` of the replacement log."""
    return f"{replacement_prefix(stream)}{n:08d}.json"


def kept_key(stream: str, n: int, key: str) -> str:
    """Where replacement `n` keeps the body that it replaced under `key`."""
    return f"{replacement_prefix(stream)}{n:08d}/old/{key}"
