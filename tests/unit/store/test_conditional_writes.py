"""The probe finds each way in which a store may be unsafe, and passes a safe one."""

import json
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError, UnknownOutcomeError
from consumer.store.conditional_writes.barrier import cross
from consumer.store.conditional_writes.probe import PROOF, OncePerFolder, conditional_writes, require_safe
from consumer.store.port import Absent, Body, BytesBody, Condition, Match, Refused, Written
from tests.fakes.store import MemoryStore

WRITERS = 4


class SetClock:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, 4, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return 0.0


class OddStore(MemoryStore):
    """A memory store that is told how to go wrong."""

    def __init__(self) -> None:
        self.clock = SetClock()
        super().__init__(self.clock)
        self.puts = 0

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        self.puts += 1
        return super().put(key, body, condition=self.changed(key, condition), metadata=metadata)

    def changed(self, key: str, condition: Condition) -> Condition:
        return condition

    def free_pass(self, key: str) -> Condition:
        """A condition that holds now."""
        facts = self.head(key)
        return Match(facts.etag) if facts else Absent()


class IgnoresAbsent(OddStore):
    def changed(self, key: str, condition: Condition) -> Condition:
        return self.free_pass(key) if isinstance(condition, Absent) else condition


class IgnoresMatch(OddStore):
    def changed(self, key: str, condition: Condition) -> Condition:
        return self.free_pass(key) if isinstance(condition, Match) else condition


class LooksThenWrites(OddStore):
    """Refuses in sequence, but whoever looked before the first write was done may write."""

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        facts = self.head(key)
        if isinstance(condition, Absent) if facts else isinstance(condition, Match):
            return Refused()
        if facts and isinstance(condition, Match) and facts.etag != condition.etag:
            return Refused()
        cross()
        outcome: Written | Refused = Refused()
        while not isinstance(outcome, Written):
            outcome = MemoryStore.put(self, key, body, condition=self.free_pass(key), metadata=metadata)
        return outcome


class JoinsPartsBlindly(OddStore):
    def put_in_parts(self, key: str, body: Body, *, condition: Condition) -> Written | Refused:
        return super().put(key, body, condition=condition)


class LetsPartsOverwrite(OddStore):
    def __init__(self) -> None:
        super().__init__()
        self._parts = threading.Lock()

    def put_in_parts(self, key: str, body: Body, *, condition: Condition) -> Written | Refused:
        del condition
        cross()
        with self._parts:
            return super().put(key, body, condition=self.free_pass(key))


class TellsTheWrongOne(OddStore):
    """The refused one's bytes stand."""

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        outcome = super().put(key, body, condition=condition, metadata=metadata)
        if "race" in key and outcome == Refused():
            super().put(key, body, condition=self.free_pass(key))
        return outcome


class RefusesCrowds(OddStore):
    """Nobody wins."""

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        return Refused() if "race" in key else super().put(key, body, condition=condition, metadata=metadata)


def checks(store: MemoryStore) -> list[str]:
    return [finding.check for finding in conditional_writes(store, races=4, writers=WRITERS)]


def test_a_safe_store_passes() -> None:
    assert checks(OddStore()) == []
    assert checks(JoinsPartsBlindly()) == []


@pytest.mark.parametrize(
    ("store", "found"),
    [
        (IgnoresAbsent(), ["If-None-Match"]),
        (IgnoresMatch(), ["If-Match"]),
        (LooksThenWrites(), ["If-None-Match", "If-Match"]),
        (LetsPartsOverwrite(), ["If-None-Match of multipart uploads"]),
        (TellsTheWrongOne(), ["If-None-Match", "If-Match"]),
        (RefusesCrowds(), ["If-None-Match", "If-Match"]),
    ],
)
def test_an_unsafe_store_is_found(store: OddStore, found: list[str]) -> None:
    assert checks(store) == found
    assert store.get(PROOF) is None


def test_two_winners_are_found_in_every_race() -> None:
    [absent, match] = conditional_writes(LooksThenWrites(), races=20, writers=WRITERS)
    assert "20 of 20" in absent.detail
    assert "20 of 20" in match.detail
    assert "use one with" in absent.remedy


def test_a_worker_refuses_an_unsafe_store() -> None:
    with pytest.raises(HaltError, match="To do: this store lets two workers") as caught:
        require_safe(IgnoresAbsent())
    assert caught.value.reason is HaltReason.UNSAFE_STORE


def test_a_proof_spares_the_races_for_a_month() -> None:
    store = OddStore()
    require_safe(store)
    raced = store.puts
    require_safe(store)
    assert store.puts < raced + 5
    store.clock.at += timedelta(days=31)
    require_safe(store)
    assert store.puts > 2 * raced - 5
    again = store.puts
    require_safe(store)
    assert store.puts < again + 5


def test_streams_that_share_a_folder_race_once() -> None:
    alone, store, prove = OddStore(), OddStore(), OncePerFolder()
    require_safe(alone)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(prove, [store] * 4))
    assert store.puts < alone.puts + 3 * 5


@pytest.mark.parametrize("proof", [b"", b"[]", b"{}", b'{"store": "memory://", "checked_at": "soon"}'])
def test_a_proof_that_is_none_is_replaced(proof: bytes) -> None:
    store = OddStore()
    store.put(PROOF, BytesBody(proof), condition=Absent())
    require_safe(store)
    stored = store.get(PROOF)
    assert stored is not None
    assert json.loads(stored.data)["checked_at"] == "2026-11-22T04:00:00+00:00"


def test_a_proof_of_another_store_is_none() -> None:
    store = OddStore()
    foreign = {"version": 1, "store": "s3://other", "checked_at": store.now().isoformat()}
    store.put(PROOF, BytesBody(json.dumps(foreign).encode()), condition=Absent())
    require_safe(store)
    assert store.puts > 20


def test_a_store_that_forgets_conditions_later_is_still_found() -> None:
    store = IgnoresMatch()
    proof = {"version": 1, "store": store.location, "checked_at": store.now().isoformat()}
    store.put(PROOF, BytesBody(json.dumps(proof).encode()), condition=Absent())
    with pytest.raises(HaltError, match="If-Match"):
        require_safe(store)


class Troubled(OddStore):
    """Fails some writers of each race."""

    def __init__(self, error: Exception, fails: int, *, after: bool = False) -> None:
        super().__init__()
        self._error, self._fails, self._after = error, fails, after

    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        first = b"".join(body.open())[:10]
        fails = any(first.startswith(b"writer %d " % writer) for writer in range(self._fails))
        if fails and not self._after:
            raise self._error
        outcome = super().put(key, body, condition=condition, metadata=metadata)
        if fails:
            raise self._error
        return outcome


def test_some_throttled_writers_do_not_spoil_a_race() -> None:
    assert checks(Troubled(TransientError("slow down"), WRITERS - 1)) == []


def test_lost_answers_do_not_spoil_a_race() -> None:
    assert checks(Troubled(UnknownOutcomeError("lost"), WRITERS, after=True)) == []


def test_an_outage_decides_nothing() -> None:
    with pytest.raises(TransientError, match="no winner, as in an outage"):
        checks(Troubled(TransientError("down"), WRITERS))


def test_a_store_that_knows_no_conditions_is_a_finding() -> None:
    store = Troubled(HaltError(HaltReason.UNSAFE_STORE, "not implemented"), WRITERS)
    assert checks(store) == ["conditional writes"]


def test_a_missing_bucket_is_not_a_finding() -> None:
    with pytest.raises(HaltError, match="missing_bucket"):
        checks(Troubled(HaltError(HaltReason.MISSING_BUCKET, "gone"), WRITERS))


class ForgetsAll(OddStore):
    def put(
        self, key: str, body: Body, *, condition: Condition, metadata: Mapping[str, str] | None = None
    ) -> Written | Refused:
        del key, body, condition, metadata
        return Written("1")


def test_a_store_that_keeps_nothing_is_found() -> None:
    assert checks(ForgetsAll()) == ["read back"]
