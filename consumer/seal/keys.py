"""The keys of the destination's folder. All keys are made here and nowhere else."""

from __future__ import annotations

from datetime import date

from consumer.domain.compression import SUFFIXES, Compression
from consumer.domain.offsets import TopicPartition

SETTINGS_PREFIX = "_seals/_settings/"
"""The folder of row rules."""


def day_folder(stream: str, day: date) -> str:
    """The folder of one day's data."""
    return f"{stream}/dt={day.isoformat()}/"


def data_key(stream: str, day: date, partition: TopicPartition, through: int, compression: Compression) -> str:
    """The data object of one seal of one partition for one day."""
    name = f"{partition.topic}-{partition.partition}-{through:020d}.csv{SUFFIXES[compression]}"
    return day_folder(stream, day) + name


def quarantine_key(stream: str, day: date, partition: TopicPartition, through: int) -> str:
    """The quarantine object of one seal of one partition for one day; never compressed."""
    return f"_quarantine/{day_folder(stream, day)}{partition.topic}-{partition.partition}-{through:020d}.jsonl"


def manifest_key(stream: str, day: date) -> str:
    """What the day consists of."""
    return day_folder(stream, day) + "_manifest.json"


def success_key(stream: str, day: date) -> str:
    """The empty mark that the day is closed."""
    return day_folder(stream, day) + "_SUCCESS"


def days_key(stream: str) -> str:
    """The list of the newest published days."""
    return f"{stream}/_days.json"


def schema_key(stream: str) -> str:
    """The folder's list of columns."""
    return f"{stream}/_schema.json"


def chain_prefix(partition: TopicPartition) -> str:
    """The folder of one partition's seal log."""
    return f"_seals/{partition.topic}/{partition.partition}/"


def record_key(partition: TopicPartition, n: int) -> str:
    """Record `n` of the seal log."""
    return f"{chain_prefix(partition)}{n:08d}.json"


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
