"""Documents in the bucket that other hands wrote: each is read as ours, or ends in the halt that says what to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import lru_cache

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.decode.registry import MemoryRegistry
from consumer.domain.errors import Halt, HaltError, HaltReason, TransientError
from consumer.domain.offsets import Commit, LogEnds, Span, TopicPartition
from consumer.monitor.probes import DaysState, check_days_listing
from consumer.seal.decide import Schedule, cutoff_to_close, next_seal
from consumer.seal.gap import lowest_needed
from consumer.seal.keys import days_key, manifest_key, record_key, replacement_prefix, settings_key
from consumer.seal.log import SealLog, get_rules
from consumer.seal.objects import ObjectChecker
from consumer.seal.record import Record, RecordError, record_from
from consumer.seal.recover import RecoveryFacts, RecoveryPlan, commit_proves, recover
from consumer.seal.replacements.log import ReplacementLog
from consumer.shape.transform import make_transformer
from consumer.store.port import Absent, BytesBody
from consumer.verify.findings import Report
from tests.builders.mutations import FEW, JUNK, mangled
from tests.builders.sealed import DAY, GROUP, RULES, STREAM, TOPIC, Bucket, StoppedClock, at, next_day, three_days
from tests.fakes.store import MemoryStore

PLACE = TopicPartition(TOPIC, 0)
REPLAY = f"{replacement_prefix(STREAM)}00000000.json"


def story(store: MemoryStore) -> Bucket:
    """Three days of two partitions, a gap over a pending seal, and a replay."""
    bucket = three_days(store)
    far = next_day(DAY, 3)
    seal = bucket.seal({far: [16, 17]}, cutoff=far, through=20, upload=False)
    bucket.gap(Span(16, 17), unfinished=seal.n)
    bucket.upload(seal, {(far, False): [17]})
    bucket.publish()
    bucket.replay({replace(seal.objects[0], rows=1, first_offset=17): [17]})
    return bucket


NOW = at(next_day(DAY, 4))


@lru_cache
def told() -> MemoryStore:
    """A store with the story in it, which nobody writes to."""
    store = MemoryStore(StoppedClock(NOW))
    story(store)
    return store


def texts() -> dict[str, bytes]:
    """Every document of the story, by key."""
    return {key: stored.data for key, stored in told()._objects.items() if key.endswith(".json")}


def object_checker(**changed: bytes) -> Bucket:
    """The story's bucket, with other texts under some keys."""
    store = MemoryStore(StoppedClock(NOW))
    store._objects.update(told()._objects)
    bucket = Bucket(store, partitions=2, now=NOW)
    for key, text in changed.items():
        bucket.overwrite(key, text)
    return bucket


def of(prefix: str) -> list[bytes]:
    found = [text for key, text in texts().items() if key.startswith(prefix)]
    assert found
    return found


def one_way_or_halted(*reasons: HaltReason, do: Callable[[], object]) -> None:
    """It works, or it halts for one of these reasons, in a message that says something."""
    halted: HaltError | None = None
    try:
        do()
    except HaltError as halt:
        halted = halt
    except TransientError:
        return
    assert halted is None or (halted.reason in reasons and len(halted.message) > 40)


DAMAGED = (HaltReason.CHAIN_DAMAGED, HaltReason.CHAIN_NEWER)
MISMATCH = HaltReason.OBJECT_MISMATCH


@given(mangled(of("_seals/t/")))
@FEW
def test_a_record_is_a_record_or_an_error_of_its_own(text: bytes) -> None:
    try:
        found = record_from(text)
    except RecordError:
        return
    assert record_from(found.document()) == found


@pytest.mark.parametrize("n", [0, 2, 3, 4])
def test_a_chain_with_a_foreign_record(n: int) -> None:
    """Records before the head are held by the digests that link them: what is left is a head, or a halt."""
    key = record_key(PLACE, n)

    @given(mangled([texts()[key]]))
    @FEW
    def read(text: bytes) -> None:
        bucket = object_checker(**{key: text})
        one_way_or_halted(*DAMAGED, MISMATCH, do=lambda: whole_life(bucket))
        one_way_or_halted(*DAMAGED, MISMATCH, do=bucket.publish)
        assert isinstance(bucket.verify(), Report)

    read()


def whole_life(bucket: Bucket) -> None:
    """All that a worker and the commands ask of a chain."""
    chain = SealLog(bucket.store, PLACE).read()
    seal = chain.last_seal
    finished = seal is None or ObjectChecker(bucket.store).finished(seal, lossy=chain.head.n > seal.n)
    commit = Commit(chain.head.resume, "{}")
    rules = get_rules(bucket.store, chain.head.settings, PLACE)
    make_transformer(rules)
    ends = LogEnds(0, 1 << 40, 1 << 40)
    found = RecoveryFacts(
        PLACE, STREAM, GROUP, RULES, chain, rules, finished, commit, "topic-0001", ends, spool=None, begin=0
    )
    assert isinstance(recover(found), RecoveryPlan | Halt)
    lowest_needed(found)
    schedule = Schedule(timedelta(hours=4))
    cutoff_to_close(chain, schedule, bucket.now)
    next_seal(chain, schedule, bucket.now)
    for offset in (0, chain.head.resume, chain.head.through):
        chain.took(DAY, chain.covering(offset))
    list(chain.segments(Span(0, min(chain.head.through, 50))))


@given(mangled(of("_seals/_settings")), st.booleans())
@FEW
def test_settings_in_the_bucket(text: bytes, renamed: bool) -> None:
    """Also under the digest that they have themselves: whoever can write can count."""
    from consumer.streams.rules import rules_from_document  # noqa: PLC0415 - in this test alone

    digest = RULES.digest
    if renamed:
        try:
            digest = rules_from_document(text).digest
        except (ValueError, KeyError, TypeError):
            return
    bucket = object_checker(**{settings_key(digest): text})

    def judge() -> None:
        rules = get_rules(bucket.store, digest, PLACE)
        try:
            make_transformer(rules, MemoryRegistry())
        except ValueError:  # the worker halts with it: `Desk.ask_judge`
            assert renamed

    one_way_or_halted(*DAMAGED, do=judge)
    assert isinstance(bucket.verify(), Report)


@given(mangled(of(f"{STREAM}/dt=")), st.integers(-1, 3))
@FEW
def test_a_manifest(text: bytes, number: int) -> None:
    bucket = object_checker(**{manifest_key(STREAM, next_day(DAY, number)): text})
    bucket.remove(days_key(STREAM))  # so that every day is looked at
    one_way_or_halted(*DAMAGED, MISMATCH, do=bucket.publish)
    record = bucket.head()
    one_way_or_halted(MISMATCH, do=lambda: ObjectChecker(bucket.store).finished(record, lossy=True))
    assert isinstance(bucket.verify(), Report)


@given(mangled(of(days_key(STREAM))))
@FEW
def test_the_list_of_days(text: bytes) -> None:
    bucket = object_checker(**{days_key(STREAM): text})
    one_way_or_halted(MISMATCH, do=lambda: check_days_listing(bucket.store, STREAM, DaysState()))
    assert isinstance(bucket.verify(), Report)
    one_way_or_halted(MISMATCH, do=bucket.publish)


@given(mangled(of(REPLAY)))
@FEW
def test_a_replay(text: bytes) -> None:
    bucket = object_checker(**{REPLAY: text})
    one_way_or_halted(*DAMAGED, MISMATCH, do=bucket.publish)
    assert isinstance(bucket.verify(), Report)


NAMES = ("topic", "partition", "rows", "first-offset", "last-offset", "sha256", "replay")
TEXTS = st.text(max_size=5) | st.sampled_from(["0", "1", "-1", "²", "٣", "9" * 5000, " 1", "1_0", "", "x"])


@given(st.dictionaries(st.sampled_from(NAMES), TEXTS), st.sampled_from([DAY, next_day(DAY, 3)]))
@FEW
def test_metadata_of_an_object(said: dict[str, str], day: object) -> None:
    bucket = object_checker()
    for key in bucket.all_keys():
        if key.startswith(f"{STREAM}/dt={day}/t-"):
            bucket.overwrite(key, bucket.read(key), said)
    bucket.remove(days_key(STREAM))
    one_way_or_halted(*DAMAGED, MISMATCH, do=bucket.publish)
    one_way_or_halted(*DAMAGED, MISMATCH, do=lambda: whole_life(bucket))
    assert isinstance(bucket.verify(), Report)


KEYS = st.text(alphabet="_seals/t0123456789.json-=dt", max_size=30).filter(
    lambda key: key and not {"", ".", ".."} & set(key.split("/"))
)


@given(
    st.sampled_from(["_seals/t/0/", "_seals/t/", f"{STREAM}/", f"{STREAM}/dt=", f"_replays/{STREAM}/", "_quarantine/"]),
    KEYS,
)
@FEW
def test_keys_that_are_nobodys(prefix: str, rest: str) -> None:
    bucket = object_checker()
    if bucket.store.head(prefix + rest) is None:
        bucket.store.put(prefix + rest, BytesBody(b"{}"), condition=Absent())
    one_way_or_halted(*DAMAGED, MISMATCH, do=lambda: whole_life(bucket))
    one_way_or_halted(*DAMAGED, MISMATCH, do=ReplacementLog(bucket.store, STREAM).read)
    one_way_or_halted(*DAMAGED, MISMATCH, do=bucket.publish)
    assert isinstance(bucket.verify(), Report)


@given(JUNK, st.text(max_size=20))
@FEW
def test_metadata_of_a_commit(junk: object, text: str) -> None:
    chain = SealLog(object_checker().store, PLACE).read()
    for metadata in (text, orjson.dumps(junk).decode(), orjson.dumps({"chain": chain.identity, "seal": junk}).decode()):
        assert commit_proves(chain, Commit(0, metadata)) in {True, False}


def test_a_record_is_ours_as_it_was() -> None:
    """The halves of the tests above that say `works` do say something."""
    bucket = object_checker()
    whole_life(bucket)
    bucket.publish()
    assert isinstance(bucket.head(), Record)
