"""Kafka in memory: what the contract suite, which both worlds pass, does not reach."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from threading import Timer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.errors import LeaseLostError, TransientError, UnknownOutcomeError, UsageError
from consumer.domain.offsets import Commit, Lease, LogEnds, TopicPartition
from consumer.source.port import Assigned, EndReached, OutOfRange, Records, Revoked, millis_from
from tests.fakes.kafka.admin import MemoryAdmin, MemoryCluster
from tests.fakes.kafka.broker import MemoryBroker
from tests.fakes.kafka.group import share_out
from tests.fakes.kafka.log import MemoryLog, Transaction

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)


class Script:
    """Hooks that fail as the test says, and note every call."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failures: dict[str, Exception] = {}

    def before(self, call: str) -> None:
        self._note(f"before {call}")

    def after(self, call: str) -> None:
        self._note(f"after {call}")

    def _note(self, what: str) -> None:
        self.calls.append(what)
        if (failure := self.failures.pop(what, None)) is not None:
            raise failure


@pytest.fixture
def cluster() -> MemoryCluster:
    made = MemoryCluster()
    made.create_topic("topic", 2)
    return made


def member(cluster: MemoryCluster, *, instance_id: str | None = None, hooks: Script | None = None) -> MemoryBroker:
    made = MemoryBroker(cluster, "group", instance_id=instance_id, hooks=hooks)
    made.subscribe(["topic"])
    return made


def leases(broker: MemoryBroker) -> dict[TopicPartition, Lease]:
    """What the next poll assigns."""
    found = [event.leases for event in broker.poll(0) if isinstance(event, Assigned)]
    return {lease.partition: lease for group in found for lease in group}


# The log


def test_a_log_with_everything_in_it() -> None:
    log = MemoryLog()
    aborted, committed, still_open = Transaction(), Transaction(), Transaction()
    log.append(b"plain", None, 1)
    log.append(b"aborted", None, 2, transaction=aborted)
    log.append(b"committed", None, 3, transaction=committed)
    aborted.abort()
    committed.commit()
    log.append(b"open", None, 4, transaction=still_open)
    log.append(b"behind", None, 5)
    assert log.ends == LogEnds(0, 5, 7)
    found, position = log.read(0, 10)
    assert [(r.offset, r.value) for r in found] == [(0, b"plain"), (2, b"committed")]
    assert position == 5
    assert log.read(5, 10) == ([], 5)
    assert log.read(6, 10) == ([], 6)
    still_open.commit()
    assert [r.offset for r in log.read(1, 2)[0]] == [2, 5]
    assert log.read(1, 2)[1] == 6
    log.compact([2])
    assert [r.offset for r in log.read(0, 10)[0]] == [0, 5, 6]
    assert log.ends == LogEnds(0, 8, 8)
    with pytest.raises(ValueError, match="ended"):
        still_open.abort()
    with pytest.raises(ValueError, match="ended"):
        log.append(b"late", None, 9, transaction=still_open)


def test_retention_and_truncation() -> None:
    log = MemoryLog()
    for number in range(10):
        log.append(b"%d" % number, None, number)
    log.delete_below(4)
    log.delete_below(2)
    assert log.ends == LogEnds(4, 10, 10)
    log.truncate(7)
    assert log.ends == LogEnds(4, 7, 7)
    assert log.append(b"new", None, 0) == 7
    assert [r.value for r in log.read(4, 10)[0]] == [b"4", b"5", b"6", b"new"]
    log.delete_below(99)
    assert log.ends == LogEnds(8, 8, 8)


def test_the_first_record_since_an_instant_may_be_uncommitted_but_is_no_control_record() -> None:
    log = MemoryLog()
    done = Transaction()
    log.append(b"", None, 5, transaction=done)
    done.abort()
    log.append(b"", None, 3)
    assert log.first_since(4) == 0
    assert log.first_since(0) == 0
    assert log.first_since(6) is None
    log.delete_below(1)
    assert log.first_since(-10) == 2


# Sharing out


@given(
    st.integers(0, 7),
    st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from(["x", "y"]), min_size=1).map(frozenset)),
    st.dictionaries(st.sampled_from("abcd"), st.sets(st.sampled_from(["x", "y"]), min_size=1).map(frozenset)),
)
def test_shares_are_complete_fair_and_sticky(
    count: int, before: dict[str, frozenset[str]], after: dict[str, frozenset[str]]
) -> None:
    partitions = [TopicPartition(topic, n) for topic in "xy" for n in range(count)]
    first = share_out(partitions, before, {})
    assert share_out(partitions, before, first) == first
    second = share_out(partitions, after, first)
    for partition in partitions:
        able = [m for m, topics in after.items() if partition.topic in topics]
        assert (partition in second) == bool(able)
        assert not able or second[partition] in able
    loads = [list(second.values()).count(m) for m in after]
    if len(set(after.values())) == 1:
        assert max(loads) - min(loads) <= 1
    if set(after) <= set(before) and set(before.values()) == set(after.values()) and len(set(after.values())) == 1:
        assert [p for p in second if first.get(p) in after and first[p] != second[p]] == []


# The group


def test_an_old_owner_commits_until_it_gives_up_and_no_longer(cluster: MemoryCluster) -> None:
    one = member(cluster)
    mine = leases(one)
    two = member(cluster)
    assert two.poll(0) == []
    for lease in mine.values():
        one.commit(lease, Commit(3))
    (revoked,) = [event for event in one.poll(0) if isinstance(event, Revoked)]
    ((lost),) = revoked.leases
    assert not revoked.lost
    with pytest.raises(LeaseLostError):
        one.commit(lost, Commit(4))
    assert set(leases(two)) == {lost.partition}
    assert cluster.group("group").committed == {ONE: Commit(3), TWO: Commit(3)}


def test_a_zombie_believes_in_its_lease_and_is_refused(cluster: MemoryCluster) -> None:
    zombie = member(cluster)
    old = leases(zombie)
    zombie.evict()
    other = member(cluster)
    theirs = leases(other)
    assert set(theirs) == {ONE, TWO}
    other.commit(theirs[ONE], Commit(9, "owner"))
    with pytest.raises(LeaseLostError):
        zombie.commit(old[ONE], Commit(1, "zombie"))
    assert cluster.group("group").committed == {ONE: Commit(9, "owner")}
    first, *_ = zombie.poll(0)
    assert first == Revoked((old[ONE], old[TWO]), lost=True)
    other.poll(0)
    assert len(leases(zombie)) == 1


def test_a_zombie_that_nobody_replaced_starts_afresh(cluster: MemoryCluster) -> None:
    broker = member(cluster)
    old = leases(broker)
    broker.evict()
    revoked, assigned = broker.poll(0)
    assert revoked == Revoked((old[ONE], old[TWO]), lost=True)
    assert isinstance(assigned, Assigned)
    assert {lease.partition for lease in assigned.leases} == {ONE, TWO}
    assert not set(assigned.leases) & set(old.values())


def test_a_refused_commit_costs_the_lease_and_brings_a_new_one(cluster: MemoryCluster) -> None:
    broker = member(cluster)
    old = leases(broker)
    broker.start(old[TWO], 0)
    broker.poll(0)
    broker.refuse_commits()
    with pytest.raises(LeaseLostError):
        broker.commit(old[ONE], Commit(1))
    with pytest.raises(LeaseLostError):
        broker.commit(old[ONE], Commit(1))
    revoked, assigned = broker.poll(0)
    assert revoked == Revoked((old[ONE],))
    assert isinstance(assigned, Assigned)
    (new,) = assigned.leases
    broker.commit(new, Commit(1))
    broker.commit(old[TWO], Commit(1))


def test_a_refused_commit_of_what_is_about_to_move_brings_no_new_lease(cluster: MemoryCluster) -> None:
    one = member(cluster)
    old = leases(one)
    two = member(cluster)
    one.refuse_commits(2)
    for lease in old.values():
        with pytest.raises(LeaseLostError):
            one.commit(lease, Commit(1))
    events = one.poll(0)
    assert events[0] == Revoked((old[ONE], old[TWO]))
    (kept,) = [event.leases for event in events if isinstance(event, Assigned)]
    assert {lease.partition for lease in kept} | set(leases(two)) == {ONE, TWO}
    assert len(kept) == 1


def test_a_second_holder_of_an_instance_id_fences_the_first(cluster: MemoryCluster) -> None:
    first = member(cluster, instance_id="twin")
    old = leases(first)
    second = member(cluster, instance_id="twin")
    assert set(leases(second)) == {ONE, TWO}
    with pytest.raises(LeaseLostError):
        first.commit(old[ONE], Commit(1))
    with pytest.raises(UsageError, match="twin"):
        first.poll(0)


def test_the_place_of_a_static_member_is_kept_until_it_is_evicted(cluster: MemoryCluster) -> None:
    gone = member(cluster, instance_id="a")
    leases(gone)
    gone.close()
    other = member(cluster)
    kept = leases(other)
    assert len(kept) == 1
    gone.evict()
    assert len(leases(other)) == 1


def test_a_deleted_topic_goes_from_everyone_and_comes_back_new(cluster: MemoryCluster) -> None:
    broker = member(cluster)
    old = leases(broker)
    broker.commit(old[ONE], Commit(1))
    cluster.delete_topic("topic")
    assert broker.poll(0) == [Revoked((old[ONE], old[TWO]))]
    assert MemoryAdmin(cluster).topic("topic") is None
    cluster.create_topic("topic", 1)
    assert set(leases(broker)) == {ONE}
    assert cluster.group("group").committed == {}
    with pytest.raises(ValueError, match="exists"):
        cluster.create_topic("topic")


# Delivery


def test_compaction_and_truncation_are_met_in_passing(cluster: MemoryCluster) -> None:
    for number in range(6):
        cluster.produce(ONE, b"%d" % number)
    cluster.existing(ONE).compact([0, 2, 5])
    broker = member(cluster)
    lease = leases(broker)[ONE]
    broker.batch = 2
    broker.start(lease, 0)
    first, second, end = [*broker.poll(0), *broker.poll(0)]
    assert isinstance(first, Records)
    assert isinstance(second, Records)
    assert (first.batch.span.start, list(first.batch.offsets), first.batch.span.end) == (0, [1, 3], 4)
    assert (second.batch.span.start, list(second.batch.offsets), second.batch.span.end) == (4, [4], 5)
    assert end == EndReached(lease, 6)
    cluster.existing(ONE).truncate(3)
    (gone,) = broker.poll(0)
    assert isinstance(gone, OutOfRange)
    assert broker.poll(0) == []


def test_a_place_between_the_stable_end_and_the_end_waits(cluster: MemoryCluster) -> None:
    transaction = Transaction()
    cluster.produce(ONE, b"open", transaction=transaction)
    cluster.produce(ONE, b"behind")
    broker = member(cluster)
    lease = leases(broker)[ONE]
    broker.start(lease, 1)
    assert broker.poll(0) == []
    transaction.commit()
    assert len(broker.poll(0)) == 2


# Steps


def test_hooks_see_every_step_and_may_put_an_error_on_either_side(cluster: MemoryCluster) -> None:
    script = Script()
    broker = member(cluster, hooks=script)
    lease = leases(broker)[ONE]
    script.failures = {"before commit": TransientError("down")}
    with pytest.raises(TransientError):
        broker.commit(lease, Commit(1))
    assert cluster.group("group").committed == {}
    script.failures = {"after commit": UnknownOutcomeError("no answer")}
    with pytest.raises(UnknownOutcomeError):
        broker.commit(lease, Commit(2))
    assert cluster.group("group").committed == {ONE: Commit(2)}
    script.calls.clear()
    broker.start(lease, 0)
    broker.pause(lease)
    broker.resume(lease)
    broker.rejoin()
    broker.close()
    calls = ["start", "pause", "resume", "rejoin", "close"]
    assert script.calls == [f"{when} {call}" for call in calls for when in ("before", "after")]
    assert broker.poll(0) == []


def test_hooks_of_the_log_view(cluster: MemoryCluster) -> None:
    script = Script()
    admin = MemoryAdmin(cluster, script)
    admin.topic("topic")
    admin.ends([ONE])
    admin.committed("group", [ONE])
    admin.offset_at(ONE, datetime(2026, 11, 22, tzinfo=UTC))
    admin.unowned("group", ["topic"])
    calls = ["topic", "ends", "committed", "offset_at", "unowned"]
    assert script.calls == [f"{when} {call}" for call in calls for when in ("before", "after")]


def test_offsets_of_the_group_may_be_changed_by_hand(cluster: MemoryCluster) -> None:
    group = cluster.group("group")
    admin = MemoryAdmin(cluster)
    group.committed[ONE] = Commit(5, "by hand")
    assert admin.committed("group", [ONE, TWO]) == {ONE: Commit(5, "by hand"), TWO: None}
    group.committed.clear()
    assert admin.committed("group", [ONE]) == {ONE: None}


def test_in_real_time_a_poll_waits_and_wake_ends_it(cluster: MemoryCluster) -> None:
    broker = MemoryBroker(cluster, "group", real_time=True)
    timer = Timer(0.05, broker.wake)
    timer.start()
    assert broker.poll(60) == []
    timer.join()


@pytest.mark.parametrize(
    ("instant", "millis"),
    [
        (datetime(1970, 1, 1, tzinfo=UTC), 0),
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=1), 1),
        (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=1), 1),
        (datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), 0),
        (datetime(2026, 11, 22, 2, tzinfo=UTC), 1795312800000),
    ],
)
def test_millis_from_an_instant(instant: datetime, millis: int) -> None:
    assert millis_from(instant) == millis
