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


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_what_is_made_is_taken_apart(compression: Compression) -> None:
    key = keys.data_key("events", DAY, PLACE, 5_230_011, compression)
    assert keys.day_of(key.removeprefix(keys.stream_folder("events"))) == DAY
    quarantine = keys.quarantine_key("events", DAY, PLACE, 5_230_011)
    for whole in (key, quarantine, keys.kept_key("events", 3, key), keys.kept_key("events", 3, quarantine)):
        assert keys.day_within(whole) == DAY
    assert keys.day_within(keys.days_key("events")) is None
    assert keys.seal_of(key.removeprefix(keys.day_folder("events", DAY))) == (PLACE, 5_230_011)
    assert keys.record_of(PLACE.topic, keys.record_key(PLACE, 12)) == (PLACE, 12)
    assert keys.record_number(keys.replacement_key("events", 3).removeprefix(keys.replacement_prefix("events"))) == 3


def test_a_topic_may_look_like_the_rest_of_a_name() -> None:
    odd = TopicPartition("a-1-00000000000000000009.csv", 2)
    assert keys.seal_of("a-1-00000000000000000009.csv-2-00000000000000000007.csv") == (odd, 7)


@pytest.mark.parametrize(
    "name",
    [
        "adapty.events-03-00000000000005230011.csv",
        "adapty.events-3-5230011.csv",
        "adapty.events-٣-00000000000005230011.csv",
        "adapty.events-3-00000000000005230011.csv.bz2",
        "adapty.events-3-00000000000005230011.csv\n",
        "../adapty.events-3-00000000000005230011.csv",
        "_manifest.json",
    ],
)
def test_another_spelling_is_no_data_object(name: str) -> None:
    assert keys.seal_of(name) is None


@pytest.mark.parametrize(
    "key", ["3/12.json", "03/00000012.json", "3/00000012.json.old", "x/00000012.json", "00000012.json"]
)
def test_another_spelling_is_no_record(key: str) -> None:
    assert keys.record_of("adapty.events", keys.chains_prefix("adapty.events") + key) is None


@pytest.mark.parametrize(
    "rest", ["dt=20261121/x", "dt=2026-W47-6/x", "2026-11-21/x", "dt=2026-11-21", "dt=2026-02-30/x"]
)
def test_another_spelling_is_no_day(rest: str) -> None:
    assert keys.day_of(rest) is None
