"""Between the two threads: leases, positions, what waits."""

from __future__ import annotations

from threading import Thread

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from consumer.domain.errors import TransientError, UsageError
from consumer.domain.offsets import Lease, Span, TopicPartition
from consumer.source import partition_queue as queue_module
from consumer.source.inbox import Inbox
from consumer.source.partition_queue import PartitionQueue
from consumer.source.port import Assigned, EndReached, OutOfRange, Records, Revoked
from consumer.source.record_columns import Columns

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)


def columns(*offsets: int) -> Columns:
    return Columns(offsets, [1] * len(offsets), [b"v%d" % o for o in offsets], [None] * len(offsets))


def started(inbox: Inbox, offset: int = 0) -> Lease:
    (lease,) = inbox.assign([ONE])
    assert inbox.poll(0) == [Assigned((lease,))]
    inbox.start(lease, offset)
    return lease


def epoch(inbox: Inbox) -> int:
    (target,) = inbox.targets()
    return target.epoch


def test_leases_are_never_the_same_again() -> None:
    inbox = Inbox()
    (first,) = inbox.assign([ONE])
    inbox.void([ONE])
    (second,) = inbox.assign([ONE])
    assert first != second
    assert not inbox.is_live(first)
    assert inbox.is_live(second)
    assert inbox.poll(0) == [Assigned((first,)), Revoked((first,)), Assigned((second,))]


def test_voiding_what_is_not_ours_tells_nothing() -> None:
    inbox = Inbox()
    inbox.void([ONE], lost=True)
    inbox.assign([])
    assert inbox.poll(0) == []


def test_what_waits_dies_with_its_lease() -> None:
    inbox = Inbox()
    lease = started(inbox)
    assert inbox.put_records(lease, epoch(inbox), columns(0, 1))
    inbox.void([ONE], lost=True)
    assert inbox.poll(0) == [Revoked((lease,), lost=True)]


def test_nothing_is_taken_before_start_or_for_an_older_turn() -> None:
    inbox = Inbox()
    (lease,) = inbox.assign([ONE])
    assert not inbox.put_records(lease, epoch(inbox), columns(0))
    inbox.start(lease, 0)
    old = epoch(inbox)
    inbox.start(lease, 5)
    assert not inbox.put_records(lease, old, columns(0))
    assert not inbox.put_end(lease, old, 9)
    assert not inbox.put_out_of_range(lease, old, "")
    assert inbox.put_records(lease, epoch(inbox), columns(5))


def test_batches_that_wait_come_as_one_and_tile() -> None:
    inbox = Inbox()
    lease = started(inbox, 3)
    now = epoch(inbox)
    inbox.put_records(lease, now, columns(4, 6))
    inbox.put_records(lease, now, columns(7))
    inbox.put_end(lease, now, 9)
    inbox.put_records(lease, now, columns(10))
    first, end = inbox.poll(0)
    assert isinstance(first, Records)
    assert first.batch.span == Span(3, 8)
    assert list(first.batch.offsets) == [4, 6, 7]
    assert list(first.batch.values) == [b"v4", b"v6", b"v7"]
    assert end == EndReached(lease, 9)
    (second,) = inbox.poll(0)
    assert isinstance(second, Records)
    assert second.batch.span == Span(9, 11)


def test_batches_are_merged_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "MERGE_RECORDS", 3)
    inbox = Inbox()
    lease = started(inbox)
    for low in (0, 2, 4):
        inbox.put_records(lease, epoch(inbox), columns(low, low + 1))
    inbox.put_records(lease, epoch(inbox), columns(*range(6, 16)))
    sizes = [len(event.batch) for _ in range(4) for event in inbox.poll(0) if isinstance(event, Records)]
    assert sizes == [2, 2, 2, 10]


def test_what_came_twice_is_dropped() -> None:
    inbox = Inbox()
    lease = started(inbox)
    now = epoch(inbox)
    inbox.put_records(lease, now, columns(0, 1, 2))
    assert inbox.put_records(lease, now, columns(1, 2, 3))
    assert inbox.put_records(lease, now, columns(0, 1))
    (event,) = inbox.poll(0)
    assert isinstance(event, Records)
    assert list(event.batch.offsets) == [0, 1, 2, 3]


def test_pause_drops_what_waits_and_resume_asks_for_it_again() -> None:
    inbox = Inbox()
    lease = started(inbox)
    inbox.put_records(lease, epoch(inbox), columns(0, 1))
    inbox.poll(0)
    inbox.put_records(lease, epoch(inbox), columns(2, 3))
    before = epoch(inbox)
    inbox.pause(lease)
    inbox.pause(lease)
    assert inbox.poll(0) == []
    assert not inbox.put_records(lease, before, columns(4))
    (target,) = inbox.targets()
    assert (target.wanted, target.offset) == (False, 2)
    inbox.resume(lease)
    (target,) = inbox.targets()
    assert (target.wanted, target.offset) == (True, 2)
    assert target.epoch > before
    inbox.resume(lease)
    assert inbox.targets() == [target]


def test_pause_outlasts_a_start() -> None:
    inbox = Inbox()
    (lease,) = inbox.assign([ONE])
    inbox.pause(lease)
    inbox.start(lease, 7)
    assert not inbox.targets()[0].wanted
    inbox.resume(lease)
    (target,) = inbox.targets()
    assert (target.wanted, target.offset) == (True, 7)


def test_out_of_range_waits_for_a_start() -> None:
    inbox = Inbox()
    lease = started(inbox)
    assert inbox.put_out_of_range(lease, epoch(inbox), "gone")
    assert not inbox.put_records(lease, epoch(inbox), columns(0))
    assert inbox.poll(0) == [OutOfRange(lease, "gone")]
    inbox.pause(lease)
    inbox.resume(lease)
    assert not inbox.targets()[0].wanted
    inbox.start(lease, 9)
    assert inbox.targets()[0].wanted


def test_out_of_range_that_nobody_saw_before_a_pause_is_found_again() -> None:
    inbox = Inbox()
    lease = started(inbox)
    inbox.put_out_of_range(lease, epoch(inbox), "gone")
    inbox.pause(lease)
    assert inbox.poll(0) == []
    inbox.resume(lease)
    assert inbox.targets()[0].wanted


def test_the_memory_of_what_waits_is_counted_and_given_back() -> None:
    inbox = Inbox(limit=columns(0, 1, 2).size)
    lease = started(inbox)
    inbox.put_records(lease, epoch(inbox), columns(0, 1))
    assert not inbox.is_full()
    inbox.put_records(lease, epoch(inbox), columns(2))
    assert inbox.is_full()
    inbox.wait_for_room(0)
    inbox.poll(0)
    assert not inbox.is_full()
    inbox.put_records(lease, epoch(inbox), columns(3, 4, 5, 6))
    assert inbox.is_full()
    inbox.start(lease, 0)
    assert not inbox.is_full()


def test_taking_makes_room_for_one_who_waits() -> None:
    inbox = Inbox(limit=1)
    lease = started(inbox)
    inbox.put_records(lease, epoch(inbox), columns(0))
    waiting = Thread(target=inbox.wait_for_room, args=(60,))
    waiting.start()
    inbox.poll(0)
    waiting.join(10)
    assert not waiting.is_alive()


def test_an_outage_is_raised_once_and_after_the_events() -> None:
    inbox = Inbox()
    inbox.report(TransientError("first"))
    inbox.report(TransientError("second"))
    (lease,) = inbox.assign([ONE])
    assert inbox.poll(0) == [Assigned((lease,))]
    for what in ("first", "second"):
        with pytest.raises(TransientError, match=what):
            inbox.poll(60)
    assert inbox.poll(0) == []


def test_the_last_words_are_raised_for_ever() -> None:
    inbox = Inbox()
    inbox.assign([ONE])
    inbox.void([ONE], lost=True)
    inbox.end(UsageError("fenced"))
    assert len(inbox.poll(60)) == 2
    for _ in range(2):
        with pytest.raises(UsageError, match="fenced"):
            inbox.poll(60)


def test_wake_is_kept_for_the_next_poll() -> None:
    inbox = Inbox()
    inbox.wake()
    assert inbox.poll(60) == []


class AnySeat(RuleBasedStateMachine):
    """A Kafka that always fetches from where the seat says, with holes, repeats and ends: spans tile all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = PartitionQueue(Lease(TWO, 1))
        self.expected: int | None = None

    @precondition(lambda self: self.queue.wanted)
    @rule(count=st.integers(1, 4), again=st.integers(0, 2), hole=st.integers(0, 2))
    def fetch(self, count: int, again: int, hole: int) -> None:
        low = max(0, self.queue.received - again)
        self.queue.put_records(columns(*range(low, low + count * (hole + 1), hole + 1)))

    @precondition(lambda self: self.queue.wanted)
    @rule(hole=st.integers(0, 3))
    def end(self, hole: int) -> None:
        self.queue.put_end(self.queue.received + hole)

    @rule()
    def take(self) -> None:
        for event in self.queue.take():
            assert self.expected is not None
            if isinstance(event, Records):
                assert event.batch.span.start == self.expected
                assert all(offset in event.batch.span for offset in event.batch.offsets)
                self.expected = event.batch.span.end
            else:
                assert isinstance(event, EndReached)
                assert event.offset >= self.expected
                self.expected = event.offset

    @rule(offset=st.integers(0, 40))
    def start(self, offset: int) -> None:
        self.queue.start(offset)
        self.expected = offset

    @rule()
    def pause(self) -> None:
        self.queue.pause()

    @rule()
    def resume(self) -> None:
        self.queue.resume()

    @invariant()
    def nothing_waits_without_weight(self) -> None:
        assert self.queue.has_news or self.queue.size == 0
        assert self.expected is None or self.queue.delivered == self.expected


TestAnySeat = AnySeat.TestCase


def test_headers_are_told_where_only_some_of_what_waits_has_any() -> None:
    inbox = Inbox()
    lease = started(inbox)
    inbox.put_records(lease, epoch(inbox), columns(0, 1))
    inbox.put_records(lease, epoch(inbox), Columns([2], [1], [b"v"], [None], [9]))
    (event,) = inbox.poll(0)
    assert isinstance(event, Records)
    assert event.batch.headers == [0, 0, 9]
