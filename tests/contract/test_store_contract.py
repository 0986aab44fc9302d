"""One contract, three stores: memory, a folder, and a real S3 store."""

import hashlib
import io
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Barrier
from typing import BinaryIO, Literal

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.store import s3, s3_multipart
from consumer.store.body import ChangedError, Piece, freeze
from consumer.store.conditional_writes.probe import PROOF, conditional_writes, require_safe
from consumer.store.folder import FolderStore
from consumer.store.port import Absent, BytesBody, Condition, Match, ObjectInfo, Refused, Store, StreamingStore, Written
from consumer.store.s3 import S3Store
from consumer.store.s3_clients import LEAST_PART, S3Options
from tests.conftest import BucketFactory
from tests.contract.fault_proxy import Answer, FaultProxy, Lose, Redate, Truncate, fault_proxy
from tests.contract.tls_proxy import tls_proxy
from tests.fakes.store import MemoryStore
from tests.services.certificates import Authority
from tests.services.s3 import S3Address, VersityGW

FOLDER = "com.sample-app/nested"
KEY = "events/dt=2026-11-21/adapty.events-3-00000000000005230011.csv"
METADATA = {
    "topic": "adapty.events",
    "partition": "3",
    "rows": "109233",
    "first-offset": "5120034",
    "last-offset": "5228799",
    "sha256": "0" * 64,
    "replay": "7",
}
WRITERS = 16


@pytest.fixture(autouse=True)
def no_credentials_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The machine's own AWS settings are no part of a test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "aws-config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "aws-credentials"))


def options_of(address: S3Address, bucket: str) -> S3Options:
    """What most tests use: small parts, short timeouts."""
    return S3Options(
        bucket=bucket,
        prefix=FOLDER,
        region=address.region,
        endpoint_url=address.endpoint_url,
        access_key_id=address.access_key,
        secret_access_key=address.secret_key,
        multipart_threshold=LEAST_PART,
        part_size=LEAST_PART,
        connect_timeout=1.0,
        read_timeout=10.0,
    )


@pytest.fixture
def options(minio: S3Address, bucket: BucketFactory) -> S3Options:
    return options_of(minio, bucket())


@pytest.fixture(params=["memory", "folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> StreamingStore:
    if request.param == "memory":
        return MemoryStore()
    if request.param == "folder":
        return FolderStore(tmp_path / "out")
    return S3Store(request.getfixturevalue("options"))


@pytest.fixture
def proxy(minio: S3Address) -> Iterator[FaultProxy]:
    with fault_proxy(minio.endpoint_url.removeprefix("http://")) as proxy:
        yield proxy


@dataclass(frozen=True, slots=True)
class OddBody:
    """A body that says what it likes of itself, or does something while it is read."""

    data: bytes
    size: int
    sha256: str
    meanwhile: Callable[[], object] = bool
    self_checking: bool = False

    def open(self) -> BinaryIO:
        self.meanwhile()
        return io.BytesIO(self.data)

    def open_unchecked(self) -> BinaryIO:
        return self.open()


def honest(data: bytes, meanwhile: Callable[[], object] = bool) -> OddBody:
    return OddBody(data, len(data), hashlib.sha256(data).hexdigest(), meanwhile)


def written(outcome: Written | Refused) -> Written:
    assert isinstance(outcome, Written)
    return outcome


def add(store: Store, key: str, data: bytes = b"rows\n") -> Written:
    return written(store.put(key, BytesBody(data), condition=Absent(), metadata=METADATA))


def content(store: Store, key: str) -> bytes | None:
    stored = store.get(key)
    return stored.data if stored else None


def many(size: int) -> bytes:
    """Bytes that are not all alike."""
    return b"".join(hashlib.sha256(number.to_bytes(4)).digest() for number in range(-(-size // 32)))[:size]


def winners(store: Store, key: str, condition: Condition, data: bytes = b"") -> list[int]:
    """Who of the writers that start together is told that its object stands."""
    start = Barrier(WRITERS)

    def write(writer: int) -> bool:
        body = BytesBody(data + b"writer %d" % writer)
        start.wait(30)
        return isinstance(store.put(key, body, condition=condition), Written)

    with ThreadPoolExecutor(WRITERS) as pool:
        return [writer for writer, won in enumerate(pool.map(write, range(WRITERS))) if won]


def test_what_was_put_is_found_again(store: Store) -> None:
    etag = add(store, KEY, b"a,b\n1,2\n").etag
    facts = ObjectInfo(KEY, 8, etag, METADATA if store.keeps_metadata else {})
    stored = store.get(KEY)
    assert stored is not None
    assert (stored.data, stored.facts) == (b"a,b\n1,2\n", facts)
    assert store.head(KEY) == facts
    assert list(store.list("events/")) == [ObjectInfo(KEY, 8, etag)]
    reader = store.open(KEY)
    assert reader is not None
    with reader:
        assert (reader.read(3), reader.read()) == (b"a,b", b"\n1,2\n")


def test_facts_may_be_empty(store: Store) -> None:
    facts = {"rows": "0", "first-offset": "", "last-offset": "", "replay": "1"}
    store.put(KEY, BytesBody(b"a,b\n"), condition=Absent(), metadata=facts)
    stored = store.get(KEY)
    assert stored is not None
    assert stored.facts.metadata == (facts if store.keeps_metadata else {})


def test_a_copy_is_the_same_object_under_another_key(store: Store) -> None:
    etag = add(store, KEY, b"a,b\n1,2\n").etag
    for _ in range(2):
        assert store.copy(KEY, "_replays/events/00000000/old/x.csv", etag=etag)
    copied = store.get("_replays/events/00000000/old/x.csv")
    assert copied is not None
    assert (copied.data, copied.facts.metadata) == (b"a,b\n1,2\n", METADATA if store.keeps_metadata else {})
    assert content(store, KEY) == b"a,b\n1,2\n"


def test_only_the_body_that_was_seen_is_copied(store: Store) -> None:
    etag = add(store, KEY, b"first").etag
    written(store.put(KEY, BytesBody(b"second"), condition=Match(etag)))
    assert not store.copy(KEY, "old", etag=etag)
    assert not store.copy("nothing", "old", etag=etag)
    assert store.head("old") is None


def test_a_large_object_is_copied_in_parts(options: S3Options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "MOST_COPIED", LEAST_PART)
    monkeypatch.setattr(s3_multipart, "COPY_PART", LEAST_PART)
    store, data = S3Store(options), many(LEAST_PART + 100)
    etag = add(store, KEY, data).etag
    assert store.copy(KEY, "old", etag=etag)
    copied = store.get("old")
    assert copied is not None
    assert (copied.data, copied.facts.metadata) == (data, METADATA)
    assert not store.copy(KEY, "older", etag='"another"')


def test_an_old_version_is_read_where_versions_are_kept(options: S3Options) -> None:
    store = S3Store(options)
    add(store, KEY, b"first")
    facts = store.head(KEY)
    assert facts is not None
    assert facts.version_id == "", "no versions in this bucket"
    store._bucket.access.clients().once.put_bucket_versioning(
        Bucket=options.bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    etag = written(store.put("new", BytesBody(b"one"), condition=Absent())).etag
    one = store.head("new")
    assert one is not None
    assert one.version_id
    written(store.put("new", BytesBody(b"two"), condition=Match(etag)))
    reader = store.open("new", version_id=one.version_id)
    assert reader is not None
    with reader:
        assert reader.read() == b"one"


def test_an_empty_object(store: Store) -> None:
    add(store, "events/dt=2026-11-21/_SUCCESS", b"")
    assert content(store, "events/dt=2026-11-21/_SUCCESS") == b""
    assert [facts.size for facts in store.list("")] == [0]


def test_nothing_where_nothing_is(store: Store) -> None:
    add(store, f"{KEY}.gz")
    assert store.get(KEY) is None
    assert store.head(KEY) is None
    assert store.open(KEY) is None
    assert store.get("events") is None
    assert store.head("events") is None
    assert store.open("events") is None
    assert list(store.list("nothing/")) == []


def test_an_object_is_created_once(store: Store) -> None:
    add(store, KEY, b"first")
    assert store.put(KEY, BytesBody(b"second"), condition=Absent()) == Refused()
    assert content(store, KEY) == b"first"


def test_only_the_version_seen_is_replaced(store: Store) -> None:
    first = add(store, KEY, b"first").etag
    second = written(store.put(KEY, BytesBody(b"second"), condition=Match(first), metadata={"replay": "8"})).etag
    assert second != first
    assert store.put(KEY, BytesBody(b"third"), condition=Match(first)) == Refused()
    stored = store.get(KEY)
    assert stored is not None
    assert stored.data == b"second"
    assert stored.facts.etag == second
    assert stored.facts.metadata == ({"replay": "8"} if store.keeps_metadata else {})


def test_nothing_is_replaced_where_nothing_is(store: Store) -> None:
    assert store.put(KEY, BytesBody(b"x"), condition=Match('"1"')) == Refused()
    assert store.head(KEY) is None


def test_one_of_many_creates(store: Store) -> None:
    for number in range(5):
        key = f"_seals/adapty.events/3/{number:08d}.json"
        [winner] = winners(store, key, Absent())
        assert content(store, key) == b"writer %d" % winner


def test_one_of_many_replaces(store: Store) -> None:
    etag = add(store, KEY).etag
    for number in range(5):
        start = b"round %d " % number
        [winner] = winners(store, KEY, Match(etag), start)
        stored = store.get(KEY)
        assert stored is not None
        assert stored.data == start + b"writer %d" % winner
        etag = stored.facts.etag


def test_keys_in_order_after_a_key_below_a_prefix(store: Store) -> None:
    keys = ["a-b/x", "a.b", "a/b-c", "a/b.d/e", "a/b/c", "a/b0", "a0", "b/.hidden/x", "b/_SUCCESS", "b/dt=1/x"]
    for key in sorted(keys, key=lambda key: key[::-1]):
        add(store, key)
    for prefix in ("", "a", "a/", "a/b", "a/b/", "b/dt", "c"):
        for after in ("", "a", "a/b", "a/b.", "a/b/c", "a/b/zz", "b/_SUCCESS", "z"):
            expected = [key for key in sorted(keys) if key.startswith(prefix) and key > after]
            assert [facts.key for facts in store.list(prefix, after=after)] == expected


def test_a_big_object_comes_back_whole(store: Store) -> None:
    data = many(2 * LEAST_PART + 12_345)
    add(store, KEY, data)
    reader = store.open(KEY)
    assert reader is not None
    with reader:
        digest = hashlib.sha256()
        while block := reader.read(100_000):
            digest.update(block)
    assert digest.hexdigest() == hashlib.sha256(data).hexdigest()
    facts = store.head(KEY)
    assert facts is not None
    assert facts.size == len(data)
    assert facts.metadata == (METADATA if store.keeps_metadata else {})


def test_conditions_hold_for_big_objects(store: Store) -> None:
    data = many(LEAST_PART + 1)
    first = add(store, KEY, data).etag
    assert store.put(KEY, BytesBody(data), condition=Absent()) == Refused()
    second = written(store.put(KEY, BytesBody(data[1:] + b"x"), condition=Match(first))).etag
    assert store.put(KEY, BytesBody(data), condition=Match(first)) == Refused()
    facts = store.head(KEY)
    assert facts is not None
    assert facts.etag == second


def test_an_object_that_appears_during_the_upload_wins(store: Store) -> None:
    body = honest(many(LEAST_PART + 1), meanwhile=lambda: add(store, KEY, b"theirs"))
    assert store.put(KEY, body, condition=Absent()) == Refused()
    assert content(store, KEY) == b"theirs"


@pytest.mark.parametrize("size", [100, LEAST_PART + 1])
@pytest.mark.parametrize("lie", [{"size": 99}, {"sha256": "1" * 64}])
def test_bytes_that_are_not_what_the_body_says_are_not_published(
    store: Store, size: int, lie: dict[str, str | int]
) -> None:
    said = {"size": size, "sha256": hashlib.sha256(many(size)).hexdigest()} | lie
    with pytest.raises(TransientError, match="changed while"):
        store.put(KEY, OddBody(many(size), **said), condition=Absent())  # type: ignore[arg-type] # of the two kinds
    assert list(store.list("")) == []


def test_a_body_that_cannot_be_read_is_an_outage(store: Store) -> None:
    def fail() -> None:
        raise OSError(5, "Input/output error")

    with pytest.raises(TransientError, match="Input/output error"):
        store.put(KEY, honest(b"data", meanwhile=fail), condition=Absent())
    assert list(store.list("")) == []


def test_the_stores_clock_is_aware_and_right(store: Store) -> None:
    now = store.now()
    assert now.tzinfo is not None
    assert abs((now - datetime.now(UTC)).total_seconds()) < 30


def test_the_location_names_no_secret(store: Store) -> None:
    assert "://" in store.location
    assert "secret" not in store.location


def test_the_probe_passes_and_proves_it(store: Store) -> None:
    assert conditional_writes(store, races=4, writers=WRITERS) == []
    before = [facts.key for facts in store.list("_checks/")]
    assert PROOF in before
    require_safe(store)
    assert [facts.key for facts in store.list("_checks/")] == before


# What only S3 does


def open_uploads(options: S3Options, minio: S3Address) -> list[str]:
    answer = minio.client().list_multipart_uploads(Bucket=options.bucket, Prefix=f"{FOLDER}/{KEY}")
    return [upload["Key"] for upload in answer.get("Uploads", [])]


def through(options: S3Options, proxy: FaultProxy) -> S3Store:
    return S3Store(replace(options, endpoint_url=proxy.url))


def test_a_body_above_the_threshold_goes_up_in_parts(options: S3Options, minio: S3Address) -> None:
    etag = add(S3Store(options), KEY, many(2 * LEAST_PART + 1)).etag
    assert etag.endswith('-3"')
    assert open_uploads(options, minio) == []


@pytest.mark.parametrize("size", [0, 10, LEAST_PART, 2 * LEAST_PART + 7])
def test_a_stream_of_unknown_length_is_written_whole(store: StreamingStore, size: int) -> None:
    data = many(size)[:size]
    pieces = [data[at : at + 300_000] for at in range(0, size, 300_000)]
    etag = written(store.put_stream(KEY, iter(pieces), condition=Absent(), metadata=METADATA)).etag
    assert content(store, KEY) == data
    assert store.put_stream(KEY, iter([b"other"]), condition=Absent()) == Refused()
    assert content(store, KEY) == data
    written(store.put_stream(KEY, iter([b"other"]), condition=Match(etag)))
    assert store.put_stream(KEY, iter(pieces), condition=Match(etag)) == Refused()
    assert content(store, KEY) == b"other"


@pytest.mark.parametrize("size", [10, LEAST_PART + 10])
def test_a_stream_that_breaks_off_leaves_nothing(store: StreamingStore, size: int) -> None:
    def breaks_off() -> Iterator[bytes]:
        yield many(size)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        store.put_stream(KEY, breaks_off(), condition=Absent())
    assert store.head(KEY) is None
    assert list(store.list("")) == []


def test_a_stream_that_was_overtaken_leaves_no_parts(options: S3Options, minio: S3Address) -> None:
    store = S3Store(options)

    def overtaken() -> Iterator[bytes]:
        yield many(LEAST_PART)
        add(store, KEY, b"faster")
        yield many(LEAST_PART)

    assert store.put_stream(KEY, overtaken(), condition=Absent()) == Refused()
    assert content(store, KEY) == b"faster"
    assert open_uploads(options, minio) == []


def test_the_size_of_parts_follows_what_is_expected(options: S3Options) -> None:
    parts = 2 * LEAST_PART * 10_000  # so many bytes in the most parts there may be
    store = S3Store(options)
    written(store.put_stream(KEY, iter([many(2 * LEAST_PART)]), condition=Absent(), expected=parts))
    facts = store.head(KEY)
    assert facts is not None
    assert facts.etag.endswith('-1"')


def test_a_failed_upload_leaves_no_parts(options: S3Options, minio: S3Address, proxy: FaultProxy) -> None:
    proxy.order(Answer(503, "SlowDown"), "PUT", "partNumber=2", times=2)
    store = through(options, proxy)
    with pytest.raises(TransientError, match="UploadPart failed: 503 SlowDown"):
        add(store, KEY, many(2 * LEAST_PART + 1))
    assert open_uploads(options, minio) == []
    assert store.head(KEY) is None
    add(store, KEY, many(2 * LEAST_PART + 1))


def test_a_part_that_failed_once_is_sent_again(options: S3Options, proxy: FaultProxy) -> None:
    proxy.order(Answer(503, "SlowDown"), "PUT", "partNumber=2")
    data = many(2 * LEAST_PART + 1)
    add(through(options, proxy), KEY, data)
    assert content(S3Store(options), KEY) == data


def test_parts_that_cannot_be_given_back_do_not_hide_the_error(options: S3Options, proxy: FaultProxy) -> None:
    proxy.order(Answer(409, "ConditionalRequestConflict"), "POST", "uploadId=")
    proxy.order(Answer(403, "AccessDenied"), "DELETE", "uploadId=")
    with pytest.raises(TransientError, match="CompleteMultipartUpload collided with another write"):
        add(through(options, proxy), KEY, many(LEAST_PART + 1))


def test_losers_of_a_race_in_parts_leave_none(options: S3Options, minio: S3Address) -> None:
    [winner] = winners(S3Store(options), KEY, Absent(), many(LEAST_PART))
    assert content(S3Store(options), KEY) == many(LEAST_PART) + b"writer %d" % winner
    assert open_uploads(options, minio) == []


def test_a_lost_answer_is_an_unknown_outcome(options: S3Options, proxy: FaultProxy) -> None:
    proxy.order(Lose(), "PUT")
    store = through(options, proxy)
    with pytest.raises(UnknownOutcomeError, match="PutObject"):
        add(store, KEY)
    assert len(proxy.seen) == 1
    assert content(store, KEY) == b"rows\n"
    assert store.put(KEY, BytesBody(b"rows\n"), condition=Absent()) == Refused()


def test_a_lost_answer_to_the_completion_is_an_unknown_outcome(options: S3Options, proxy: FaultProxy) -> None:
    proxy.order(Lose(), "POST", "uploadId=")
    store = through(options, proxy)
    with pytest.raises(UnknownOutcomeError, match="CompleteMultipartUpload"):
        add(store, KEY, many(LEAST_PART + 1))
    assert content(store, KEY) == many(LEAST_PART + 1)


@pytest.mark.parametrize(
    ("status", "code", "unknown"),
    [
        (409, "ConditionalRequestConflict", False),
        (429, "TooManyRequests", False),
        (503, "SlowDown", False),
        (507, "XMinioStorageFull", False),
        (400, "RequestTimeout", False),
        (400, "ExpiredToken", False),
        (401, "Unauthorized", False),
        (403, "AccessDenied", False),
        (500, "InternalError", True),
        (502, "BadGateway", True),
        (504, "GatewayTimeout", True),
    ],
)
def test_answers_that_time_or_an_operator_mends(
    options: S3Options, proxy: FaultProxy, status: int, code: str, *, unknown: bool
) -> None:
    proxy.order(Answer(status, code), "PUT")
    store = through(options, proxy)
    with pytest.raises(TransientError, match=f"{status} {code}") as caught:
        add(store, KEY)
    assert isinstance(caught.value, UnknownOutcomeError) == unknown
    assert proxy.seen == [("PUT", f"/{options.bucket}/{FOLDER}/{KEY}".replace("=", "%3D"))]
    add(store, KEY)


def test_a_store_that_knows_no_conditions_halts(options: S3Options, proxy: FaultProxy) -> None:
    proxy.order(Answer(501, "NotImplemented"), "PUT")
    with pytest.raises(HaltError, match="use another store") as caught:
        add(through(options, proxy), KEY)
    assert caught.value.reason is HaltReason.UNSAFE_STORE


def test_a_store_that_does_not_know_the_checksum_compares_none(options: S3Options, proxy: FaultProxy) -> None:
    proxy.order(Answer(501, "NotImplemented"), "PUT")
    store = through(options, proxy)
    assert not store.compares_checksums()
    assert not store.compares_checksums()
    assert len(proxy.seen) == 1, "it is asked once"


def test_reads_are_tried_twice(options: S3Options, proxy: FaultProxy) -> None:
    store = through(options, proxy)
    add(store, KEY)
    proxy.order(Answer(503, "SlowDown"), "GET")
    assert content(store, KEY) == b"rows\n"
    proxy.order(Answer(503, "SlowDown"), "GET", times=2)
    with pytest.raises(TransientError, match="GetObject failed: 503 SlowDown"):
        store.get(KEY)


def test_a_stream_that_breaks_off_is_no_short_object(options: S3Options, proxy: FaultProxy) -> None:
    store = through(options, proxy)
    add(store, KEY, many(3_000_000))
    proxy.order(Truncate(2_000_000), "GET")
    reader = store.open(KEY)
    assert reader is not None
    with reader, pytest.raises(TransientError, match="GetObject"):
        reader.read()
    proxy.order(Truncate(2_000_000), "GET")
    with pytest.raises(TransientError, match="GetObject"):
        store.get(KEY)


def test_a_missing_bucket_halts_whatever_is_asked(options: S3Options) -> None:
    store = S3Store(replace(options, bucket="no-such-bucket-here"))
    asked: list[Callable[[], object]] = [
        lambda: add(store, KEY),
        lambda: add(store, KEY, many(LEAST_PART + 1)),
        lambda: store.put_in_parts(KEY, BytesBody(b"x"), condition=Absent()),
        lambda: store.get(KEY),
        lambda: store.head(KEY),
        lambda: store.open(KEY),
        lambda: list(store.list("")),
        store.now,
    ]
    for ask in asked:
        with pytest.raises(HaltError, match="does not exist: create it") as caught:
            ask()
        assert caught.value.reason is HaltReason.MISSING_BUCKET


def keys_file(tmp_path: Path, access_key: str, secret_key: str) -> None:
    text = f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = {secret_key}\n"
    (tmp_path / "aws-credentials").write_text(text)


def test_refused_credentials_are_read_again(options: S3Options, minio: S3Address, tmp_path: Path) -> None:
    store = S3Store(replace(options, access_key_id="", secret_access_key=""))
    with pytest.raises(TransientError, match="no usable AWS credentials"):
        add(store, KEY)
    keys_file(tmp_path, minio.access_key, "wrong")
    for ask in (lambda: add(store, KEY), lambda: store.get(KEY), store.now):
        with pytest.raises(TransientError, match="403 SignatureDoesNotMatch"):
            ask()
    with pytest.raises(TransientError, match="HeadObject was refused: 403"):
        store.head(KEY)
    keys_file(tmp_path, minio.access_key, minio.secret_key)
    add(store, KEY)
    assert content(store, KEY) == b"rows\n"


def test_keys_that_rotate_under_many_threads(options: S3Options, minio: S3Address, tmp_path: Path) -> None:
    store = S3Store(replace(options, access_key_id="", secret_access_key=""))
    keys_file(tmp_path, "unknown", "wrong")
    with ThreadPoolExecutor(8) as pool:
        refused = [pool.submit(store.now) for _ in range(8)]
        assert all(isinstance(future.exception(), TransientError) for future in refused)
        keys_file(tmp_path, minio.access_key, minio.secret_key)
        first = pool.submit(store.now)
        assert first.exception() is None
        assert all(future.exception() is None for future in [pool.submit(store.now) for _ in range(8)])


def test_a_role_is_assumed_on_top_of_the_chain(
    options: S3Options, minio: S3Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", minio.endpoint_url)
    role = "arn:aws:iam::123456789012:role/sink"
    store = S3Store(replace(options, access_key_id="", secret_access_key="", role_arn=role))
    with pytest.raises(TransientError, match="no usable AWS credentials"):
        store.now()
    keys_file(tmp_path, minio.access_key, "wrong")
    with pytest.raises(TransientError, match="AssumeRole answered 403"):
        store.now()
    keys_file(tmp_path, minio.access_key, minio.secret_key)
    add(store, KEY)
    given = S3Store(replace(options, role_arn=role))
    assert content(given, KEY) == b"rows\n"


def test_a_closed_port_is_an_outage(options: S3Options) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    store = S3Store(replace(options, endpoint_url=f"http://127.0.0.1:{port}"))
    for ask in (lambda: add(store, KEY), lambda: store.get(KEY), lambda: store.head(KEY), store.now):
        with pytest.raises(TransientError, match="did not reach the store") as caught:
            ask()
        assert not isinstance(caught.value, UnknownOutcomeError)


def test_a_silent_server_is_an_outage_within_bounds(options: S3Options) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        store = S3Store(replace(options, endpoint_url=f"http://127.0.0.1:{port}", read_timeout=0.2))
        began = time.monotonic()
        with pytest.raises(UnknownOutcomeError, match="no response to PutObject"):
            add(store, KEY)
        with pytest.raises(TransientError, match="GetObject did not reach the store"):
            store.get(KEY)
        assert time.monotonic() - began < 10


@pytest.mark.parametrize("date", ["", "soon", "Sun, 22 Nov 2026 04:00:00 -0000"])
def test_a_clock_that_cannot_be_read_is_an_outage(options: S3Options, proxy: FaultProxy, date: str) -> None:
    store = through(options, proxy)
    proxy.order(Redate(date), "GET")
    with pytest.raises(TransientError, match="Date"):
        store.now()
    proxy.order(Redate("Sun, 22 Nov 2026 04:00:01 GMT"), "GET")
    assert store.now() == datetime(2026, 11, 22, 4, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("checksums", ["when_supported", "when_required"])
def test_either_kind_of_checksum(options: S3Options, checksums: str, minio: S3Address) -> None:
    store = S3Store(replace(options, checksums=checksums))  # type: ignore[arg-type] # one of the two
    add(store, "small")
    add(store, "big", many(LEAST_PART + 1))
    for key, data in (("small", b"rows\n"), ("big", many(LEAST_PART + 1))):
        assert content(store, key) == data
    answer = minio.client().head_object(Bucket=options.bucket, Key=f"{FOLDER}/small", ChecksumMode="ENABLED")
    assert ("ChecksumCRC32" in answer) == (checksums == "when_supported")


MEGA = 1024 * 1024


def by_checksum(options: S3Options, checksums: Literal["auto", "when_supported", "when_required"]) -> S3Store:
    return S3Store(replace(options, checksums=checksums, multipart_threshold=16 * MEGA))


@pytest.mark.parametrize("checksums", ["auto", "when_supported"])
def test_a_large_body_goes_up_at_once_with_the_digest_that_is_known(
    options: S3Options, checksums: Literal["auto", "when_supported"], minio: S3Address
) -> None:
    data = many(7 * MEGA + 1)
    etag = add(by_checksum(options, checksums), "large", data).etag
    assert "-" not in etag, "no parts"
    answer = minio.client().head_object(Bucket=options.bucket, Key=f"{FOLDER}/large", ChecksumMode="ENABLED")
    assert answer["ChecksumSHA256"] == b64encode(hashlib.sha256(data).digest()).decode()
    [item] = minio.client().list_objects_v2(Bucket=options.bucket)["Contents"]
    assert item["Key"] == f"{FOLDER}/large", "asking leaves nothing where the store compares"


def test_a_store_that_compares_no_checksums_gets_a_signed_digest(options: S3Options, minio: S3Address) -> None:
    data = many(3 * MEGA)
    store = by_checksum(options, "when_required")
    add(store, "large", data)
    assert content(store, "large") == data
    answer = minio.client().head_object(Bucket=options.bucket, Key=f"{FOLDER}/large", ChecksumMode="ENABLED")
    assert "ChecksumSHA256" not in set(answer)
    assert written(store.put("large", BytesBody(data), condition=Match(answer["ETag"])))
    assert isinstance(store.put("large", BytesBody(data), condition=Absent()), Refused)


KINDS_OF_CHECKSUM: tuple[Literal["auto", "when_supported", "when_required"], ...] = (
    "auto",
    "when_supported",
    "when_required",
)


@pytest.mark.parametrize("checksums", KINDS_OF_CHECKSUM)
def test_a_body_that_changed_on_the_disk_is_refused(
    options: S3Options, checksums: Literal["auto", "when_supported", "when_required"], tmp_path: Path
) -> None:
    """Between the digest and the sending: by the store where it compares, else by us before anything is sent."""
    path = tmp_path / "rows"
    path.write_bytes(many(3 * MEGA))
    with freeze([Piece(lambda: path.open("rb"))], folder=tmp_path) as body:
        with path.open("r+b") as file:
            file.seek(2 * MEGA)
            file.write(b"x")
        store = by_checksum(options, checksums)
        with pytest.raises(ChangedError, match="nothing of them was published"):
            store.put("large", body, condition=Absent())
        assert store.head("large") is None


@pytest.mark.parametrize("checksums", ["auto", "when_supported"])
def test_bytes_that_changed_on_the_way_are_refused(
    options: S3Options, checksums: Literal["auto", "when_supported"]
) -> None:
    """The body reads right here, and came wrong there."""
    data = many(3 * MEGA)

    @dataclass(frozen=True, slots=True)
    class Bent(OddBody):
        def open_unchecked(self) -> BinaryIO:
            return io.BytesIO(self.data[:-1] + b"x")

    store = by_checksum(options, checksums)
    with pytest.raises(TransientError, match="the store received other bytes than were sent"):
        store.put("large", Bent(data, len(data), hashlib.sha256(data).hexdigest()), condition=Absent())
    assert store.head("large") is None


def test_a_large_body_over_tls(options: S3Options, tmp_path: Path) -> None:
    """The same where boto would sign or leave out more of its own accord; with an authority of our own."""
    authority = Authority(tmp_path)
    data = many(3 * MEGA)
    with tls_proxy(options.endpoint_url.removeprefix("http://"), authority.issue("store")) as address:
        secure = replace(options, endpoint_url=f"https://{address}")
        with pytest.raises(TransientError, match=r"certificate verify failed.*destination\.ca_bundle"):
            S3Store(secure).now()
        store = by_checksum(replace(secure, ca_bundle=str(authority.file)), "auto")
        add(store, "large", data)
        assert content(store, "large") == data
        path = tmp_path / "rows"
        path.write_bytes(data)
        with freeze([Piece(lambda: path.open("rb"))], folder=tmp_path) as body:
            path.write_bytes(data[:-1] + b"x")
            with pytest.raises(ChangedError):
                store.put("other", body, condition=Absent())
        assert store.head("other") is None


def test_the_storage_class_is_passed_on(options: S3Options, minio: S3Address) -> None:
    store = S3Store(replace(options, storage_class="REDUCED_REDUNDANCY"))
    add(store, "small")
    add(store, "big", many(LEAST_PART + 1))
    listed = minio.client().list_objects_v2(Bucket=options.bucket)["Contents"]
    assert [item["StorageClass"] for item in listed] == ["REDUCED_REDUNDANCY"] * 2


def test_long_lists_come_page_by_page(options: S3Options, minio: S3Address, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PAGE", 10)
    store, client = S3Store(options), minio.client()
    client.put_object(Bucket=options.bucket, Key=f"{FOLDER}/", Body=b"")  # a folder, as the console makes it
    keys = [f"k/{number:04d}" for number in range(25)]
    for key in keys:
        add(store, key, b"")
    assert [facts.key for facts in store.list("")] == keys
    assert [facts.key for facts in store.list("k/", after="k/0002")] == keys[3:]


def test_the_folder_is_part_of_the_key(options: S3Options, minio: S3Address) -> None:
    add(S3Store(options), KEY)
    [item] = minio.client().list_objects_v2(Bucket=options.bucket)["Contents"]
    assert item["Key"] == f"{FOLDER}/{KEY}"
    bare = S3Store(replace(options, prefix=""))
    assert [facts.key for facts in bare.list("")] == [f"{FOLDER}/{KEY}"]


def test_another_store_refuses_a_changed_body_too(
    versitygw: VersityGW, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what it says of itself, or by what the settings say; over HTTP and TLS."""
    versitygw.make_bucket("bucket")
    authority, options = Authority(tmp_path), options_of(versitygw.address, "bucket")
    monkeypatch.setenv("AWS_CA_BUNDLE", str(authority.file))
    data, path = many(MEGA + MEGA // 8), tmp_path / "rows"
    assert S3Store(options).compares_checksums()
    with tls_proxy(versitygw.upstream, authority.issue("store")) as address:
        ways = [*((options.endpoint_url, said) for said in KINDS_OF_CHECKSUM), (f"https://{address}", "when_supported")]
        for endpoint, said in ways:
            store, key = by_checksum(replace(options, endpoint_url=endpoint), said), f"{endpoint[:5]}/{said}"
            path.write_bytes(data)
            with freeze([Piece(lambda: path.open("rb"))], folder=tmp_path) as body:
                path.write_bytes(data[:-1] + b"x")
                with pytest.raises(ChangedError):
                    store.put(key, body, condition=Absent())
            assert store.head(key) is None
            add(store, key, data)
            assert content(store, key) == data


def test_a_store_that_lets_two_win_is_refused(versitygw: VersityGW) -> None:
    versitygw.make_bucket("bucket")
    store = S3Store(options_of(versitygw.address, "bucket"))
    findings = {finding.check for finding in conditional_writes(store, races=5)}
    assert {"If-None-Match", "If-Match"} <= findings
