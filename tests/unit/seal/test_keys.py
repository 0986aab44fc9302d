"""The bucket layout of section 2, key by key: what downstream jobs rely on."""

from datetime import date

import pytest

from consumer.domain.compression import Compression
from consumer.domain.offsets import TopicPartition
from consumer.seal import keys

PLACE = TopicPartition("adapty.events", 3)
DAY = date(2026, 11, 21)


def test_the_layout() -> None:
    assert keys.manifest_key("events", DAY) == "events/dt=2026-11-21/_manifest.json"
    assert keys.success_key("events", DAY) == "events/dt=2026-11-21/_SUCCESS"
    assert keys.days_key("events") == "events/_days.json"
    assert keys.record_key(PLACE, 12) == "_seals/adapty.events/3/00000012.json"
    assert keys.chain_prefix(PLACE) == "_seals/adapty.events/3/"
    assert keys.settings_key("9f2c01ab") == "_seals/_settings/9f2c01ab.json"
    assert keys.replacement_prefix("events") == "_replays/events/"
    assert keys.replacement_key("events", 3) == "_replays/events/00000003.json"
    assert keys.kept_key("events", 3, "events/x.csv") == "_replays/events/00000003/old/events/x.csv"
    assert (
        keys.quarantine_key("events", DAY, PLACE, 5_230_011)
        == "_quarantine/events/dt=2026-11-21/adapty.events-3-00000000000005230011.jsonl"
    )


@pytest.mark.parametrize(("compression", "ending"), [("none", ""), ("gzip", ".gz"), ("zstd", ".zst")])
def test_data_objects(compression: Compression, ending: str) -> None:
    assert (
        keys.data_key("events", DAY, PLACE, 5_230_011, compression)
        == f"events/dt=2026-11-21/adapty.events-3-00000000000005230011.csv{ending}"
    )


def test_records_sort_as_their_numbers() -> None:
    numbers = [0, 1, 9, 10, 99, 100, 9_999_999, 10_000_000]
    assert sorted(keys.record_key(PLACE, n) for n in numbers) == [keys.record_key(PLACE, n) for n in numbers]
