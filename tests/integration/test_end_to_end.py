"""The main job, whole, on a real Kafka, store and registry, judged to the byte by an oracle of its own."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.conftest import BucketFactory
from tests.harness.oracle import today
from tests.harness.records import KINDS, Form
from tests.harness.world import Stream, World, closing
from tests.integration import readers
from tests.services.kafka import KafkaAddress
from tests.services.s3 import S3Address

FORMS: dict[Form, str] = {"avro": "none", "avro-registry": "gzip", "json": "zstd"}
TOTAL = 12_000
ONE_DAY = timedelta(days=1)
FIRST = today() - 6 * ONE_DAY


@pytest.fixture
def world(
    tmp_path: Path, kafka: KafkaAddress, minio: S3Address, registry: str, bucket: BucketFactory
) -> Iterator[World]:
    with closing(World(tmp_path / "world", kafka, minio, bucket(), registry)) as made:
        yield made


def add_all(world: World, partitions: int) -> list[Stream]:
    """Each kind in each format."""
    return [
        world.add(f"{kind}_{form.replace('-', '_')}", kind, form, partitions=partitions, compression=compression)
        for kind in KINDS
        for form, compression in FORMS.items()
    ]


def mix(world: World, stream: Stream, days: list[int], count: int) -> None:
    """Mixed records, then some whose transaction is aborted, then some whose transaction ends well."""
    chosen = [FIRST + n * ONE_DAY for n in days]
    rare = count // 100
    world.fill(stream, chosen, count - 2 * rare)
    for commit in (False, True):
        made = [
            (stream.topic, n % stream.partitions, stream.maker.mixed(stream.maker.rng.choice(chosen)))
            for n in range(rare)
        ]
        world.ledger.transaction(f"{stream.topic}-{commit}", made, commit=commit)


def save(world: World, into: Path) -> list[Path]:
    """All data objects as files of the same names."""
    keys = [key for key in world.folder.keys() if "/dt=" in key and ".csv" in key and key[0] != "_"]
    paths = []
    for found in world.folder.read_all(keys).values():
        path = into / found.key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found.body)
        paths.append(path)
    return paths


@pytest.mark.timeout(900)
def test_four_streams_in_three_formats_arrive_exactly_where_they_belong(world: World, tmp_path: Path) -> None:
    """200,000 records: filtered, late, bad, tombstones, of aborted transactions, of days not due, of the far future."""
    streams = add_all(world, partitions=2)
    each = TOTAL // len(streams)
    for stream in streams:
        mix(world, stream, [0, 1, 2, 3], each * 3 // 4)
    world.once(FIRST + 2 * ONE_DAY).done(seconds=600)
    first = world.judge(FIRST + 2 * ONE_DAY)
    for stream in streams:
        mix(world, stream, [0, 1, 3, 4, 6], each // 4)
        future = datetime.now(UTC).date() + 400 * ONE_DAY
        world.ledger.send(stream.topic, 0, [stream.maker.row(future) for _ in range(3)])
    world.once().done(seconds=600)
    yesterday = datetime.now(UTC).date() - ONE_DAY
    second = world.judge(yesterday)

    seen = sum(sent.visible for log in world.ledger.sent.values() for sent in log)
    assert seen > 0.98 * TOTAL
    for name, findings in second.items():
        assert findings.rows > first[name].rows > 0, name
        assert findings.quarantined > 0, name
        assert findings.days[future] == 3, name
        assert findings.held, f"{name}: today's rows wait"
    before = world.folder.listing()
    world.once().done(seconds=300)
    assert world.folder.listing() == before
    assert world.lagging() == []

    paths = save(world, tmp_path / "copy")
    assert len(paths) == sum(found.objects for found in second.values()) - len(world.folder.keys("_quarantine/"))
    assert [found for path in paths if (found := readers.disagreement(path))] == []
