"""The reader's thread, one turn at a time, over a client that is made up: what Kafka does seldom, and when it likes."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as Place

from consumer.domain.errors import LeaseLostError, TransientError, UnknownOutcomeError, UsageError
from consumer.domain.offsets import Commit, Lease, TopicPartition
from consumer.source import fetch as fetch_module
from consumer.source import member as member_module
from consumer.source import reader as reader_module
from consumer.source.health import Health
from consumer.source.inbox import Inbox
from consumer.source.member import Member
from consumer.source.partition_queue import MERGE_BYTES, MOST_PER_CALL
from consumer.source.port import Assigned, EndReached, Event, OutOfRange, Records, Revoked, Unreadable
from consumer.source.reader import Reader
from consumer.source.record_columns import RECORD_OVERHEAD

ONE, TWO = TopicPartition("topic", 0), TopicPartition("topic", 1)
STATE = KafkaException(KafkaError(KafkaError._STATE))


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds


class MadeUpClient:
    """Does as it is told by the test; remembers what was asked of it."""

    made: list[MadeUpClient]
    script: list[Callable[[], list[Message[Any, Any]]]]
    """What the next calls of `consume` do, whichever client is asked."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.calls: list[tuple[str, Any]] = []
        self.seek_errors: list[KafkaException] = []
        self.owned: list[Place] = []
        self.on: dict[str, Callable[[Any, list[Place]], None]] = {}
        self.commit_error: KafkaException | None = None
        self.made.append(self)

    def subscribe(self, topics: list[str], **callbacks: Callable[[Any, list[Place]], None]) -> None:
        self.calls.append(("subscribe", topics))
        self.on = callbacks

    def unsubscribe(self) -> None:
        self.calls.append(("unsubscribe", None))

    def assignment(self) -> list[Place]:
        return list(self.owned)

    def incremental_assign(self, places: list[Place]) -> None:
        self.calls.append(("assign", [(p.partition, p.offset) for p in places]))
        self.owned += places

    def incremental_unassign(self, places: list[Place]) -> None:
        gone = {(p.topic, p.partition) for p in places}
        assert gone <= {(p.topic, p.partition) for p in self.owned}
        self.calls.append(("unassign", sorted(p.partition for p in places)))
        self.owned = [p for p in self.owned if (p.topic, p.partition) not in gone]

    def pause(self, places: list[Place]) -> None:
        self.calls.append(("pause", [p.partition for p in places]))

    def resume(self, places: list[Place]) -> None:
        self.calls.append(("resume", [p.partition for p in places]))

    def seek(self, place: Place) -> None:
        self.calls.append(("seek", (place.partition, place.offset)))
        if self.seek_errors:
            raise self.seek_errors.pop(0)

    def consume(self, number: int, _timeout: float) -> list[Message[Any, Any]]:
        self.calls.append(("consume", number))
        return self.script.pop(0)() if self.script else []

    def commit(self, *, offsets: list[Place], asynchronous: bool) -> None:
        assert asynchronous
        self.calls.append(("commit", offsets))
        if self.commit_error is not None:
            raise self.commit_error

    def close(self) -> None:
        self.calls.append(("close", None))

    def asked(self, *kinds: str) -> list[tuple[str, Any]]:
        """What was asked since the last look, of these kinds."""
        found = [call for call in self.calls if call[0] in kinds]
        self.calls.clear()
        return found


class Bench:
    """All parts together, without the thread."""

    def __init__(self, *, memory: int = 10**9, session_seconds: float = 30) -> None:
        self.clock = Clock()
        self.inbox = Inbox(memory)
        self.health = Health(self.inbox, self.clock)
        self.member = Member({}, self.inbox, self.health, self.clock, session_seconds)
        self.reader = Reader(self.member, self.inbox, self.health, self.clock)
        self.member.join(["topic"])

    @property
    def client(self) -> MadeUpClient:
        return MadeUpClient.made[-1]

    def epoch(self, *messages: Message[Any, Any], seconds: float = 0.03) -> None:
        """One turn, in which the client has these."""
        self.clock.seconds += seconds
        if messages:
            MadeUpClient.script.append(lambda: list(messages))
        self.reader._turn()

    def callback(self, name: str, *partitions: TopicPartition) -> None:
        """One turn, in which the group calls back."""
        places = [Place(p.topic, p.partition) for p in partitions]

        def call() -> list[Message[Any, Any]]:
            self.client.on[name](self.client, places)
            return []

        MadeUpClient.script.append(call)
        self.epoch()

    def assigned(self, *partitions: TopicPartition) -> list[Lease]:
        self.callback("on_assign", *partitions)
        (event,) = self.inbox.poll(0)
        assert isinstance(event, Assigned)
        return list(event.leases)

    def started(self, offset: int = 0) -> Lease:
        (lease,) = self.assigned(ONE)
        self.inbox.start(lease, offset)
        self.epoch()
        self.client.calls.clear()
        return lease

    def events(self) -> list[Event]:
        return self.inbox.poll(0)

    def outage(self) -> str:
        with pytest.raises(TransientError) as raised:
            self.inbox.poll(0)
        return str(raised.value)


@pytest.fixture(autouse=True)
def _made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    MadeUpClient.made = []
    MadeUpClient.script = []
    monkeypatch.setattr(member_module, "Consumer", MadeUpClient)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def record(offset: int, partition: int = 0) -> Message[Any, Any]:
    return Message(topic="topic", partition=partition, offset=offset, value=b"%d" % offset)


def failure(code: int, offset: int = -1001, partition: int = 0, text: str = "told so") -> Message[Any, Any]:
    return Message(topic="topic", partition=partition, offset=offset, error=KafkaError(code, text))


def offsets(events: list[Event]) -> list[int]:
    return [offset for event in events if isinstance(event, Records) for offset in event.batch.offsets]


# Where to read


def test_a_new_partition_is_parked(bench: Bench) -> None:
    bench.assigned(ONE, TWO)
    assert bench.client.asked("assign", "pause") == [("assign", [(0, 0), (1, 0)]), ("pause", [0, 1])]
    bench.epoch(record(0), record(1))
    assert bench.events() == []


def test_start_seeks_then_resumes(bench: Bench) -> None:
    (lease,) = bench.assigned(ONE)
    bench.client.calls.clear()
    bench.inbox.start(lease, 7)
    bench.epoch(record(7))
    assert bench.client.asked("seek", "resume", "pause") == [("seek", (0, 7)), ("resume", [0])]
    assert offsets(bench.events()) == [7]
    bench.epoch(record(8))
    assert bench.client.asked("seek", "resume", "pause") == []


def test_a_seek_that_is_refused_is_tried_again(bench: Bench) -> None:
    (lease,) = bench.assigned(ONE)
    bench.client.seek_errors = [STATE, KafkaException(KafkaError(KafkaError._PREV_IN_PROGRESS))]
    bench.inbox.start(lease, 7)
    for _ in range(2):
        bench.epoch(record(99), seconds=fetch_module.RETRY_SECONDS)
        assert bench.events() == []
    bench.epoch(record(7), seconds=fetch_module.RETRY_SECONDS)
    assert offsets(bench.events()) == [7]
    assert [what for what, _ in bench.client.asked("seek", "unassign")] == ["seek"] * 3


def test_a_fetcher_that_was_seen_to_stop_is_assigned_anew(bench: Bench) -> None:
    lease = bench.started(7)
    bench.epoch(failure(KafkaError._AUTO_OFFSET_RESET, 7))
    assert bench.events() == [OutOfRange(lease, "told so")]
    bench.epoch()
    assert bench.client.asked("seek") == []
    bench.client.seek_errors = [STATE]
    bench.inbox.start(lease, 9)
    bench.epoch()
    assert bench.client.asked("seek", "unassign", "assign", "resume") == [
        ("seek", (0, 9)),
        ("unassign", [0]),
        ("assign", [(0, 9)]),
        ("resume", [0]),
    ]


def test_late_news_of_an_older_place_is_no_news(bench: Bench) -> None:
    lease = bench.started(7)
    bench.inbox.start(lease, 3)
    bench.epoch(failure(KafkaError._AUTO_OFFSET_RESET, 7))
    assert bench.events() == []
    bench.client.calls.clear()
    bench.epoch(record(3))
    assert bench.client.asked("seek") == [("seek", (0, 3))]
    assert offsets(bench.events()) == [3]


def test_a_truncated_log_is_news_though_it_names_no_offset(bench: Bench) -> None:
    lease = bench.started(7)
    bench.epoch(failure(KafkaError._AUTO_OFFSET_RESET))
    assert bench.events() == [OutOfRange(lease, "told so")]


def test_silence_after_a_seek_is_met_by_another_and_then_by_a_new_start(bench: Bench) -> None:
    bench.started(7)
    for _ in range(fetch_module.RESTART_AFTER):
        bench.epoch(seconds=fetch_module.SILENCE_SECONDS)
    asked = bench.client.asked("seek", "unassign", "assign")
    assert asked == [*[("seek", (0, 7))] * (fetch_module.RESTART_AFTER - 1), ("unassign", [0]), ("assign", [(0, 7)])]
    bench.epoch(failure(KafkaError._PARTITION_EOF, 7))
    bench.epoch(seconds=2 * fetch_module.SILENCE_SECONDS)
    assert bench.client.asked("seek", "unassign", "assign") == []


def test_a_partition_that_was_moved_in_the_middle_of_a_consume_gives_nothing_old(bench: Bench) -> None:
    """One `consume` that holds records, a revocation, a new assignment and records again."""
    lease = bench.started(0)

    def mixed() -> list[Message[Any, Any]]:
        bench.client.on["on_revoke"](bench.client, [Place("topic", 0)])
        bench.client.on["on_assign"](bench.client, [Place("topic", 0)])
        return [record(0), record(1), record(500)]

    MadeUpClient.script.append(mixed)
    bench.epoch()
    revoked, assigned = bench.events()
    assert revoked == Revoked((lease,))
    assert isinstance(assigned, Assigned)
    assert bench.events() == []


def test_a_jump_that_comes_down_behind_its_place_is_made_again(bench: Bench) -> None:
    bench.started(7)
    bench.epoch(record(420))
    assert bench.events() == []
    bench.epoch(record(7), record(8))
    assert bench.client.asked("seek") == [("seek", (0, 7))]
    assert offsets(bench.events()) == [7, 8]


def test_a_hole_at_the_place_is_believed_the_second_time(bench: Bench) -> None:
    bench.started(7)
    for _ in range(2):
        bench.epoch(record(9), record(10))
    (found,) = bench.events()
    assert isinstance(found, Records)
    assert (found.batch.span.start, found.batch.offsets) == (7, [9, 10])
    bench.epoch(record(15))
    assert bench.client.asked("seek") == [("seek", (0, 7))]
    assert offsets(bench.events()) == [15]


def test_a_second_look_that_comes_nearer_is_followed_by_a_third(bench: Bench) -> None:
    bench.started(7)
    for offset in (420, 100, 7):
        bench.epoch(record(offset))
    assert [what for what, _ in bench.client.asked("seek")] == ["seek"] * 2
    assert offsets(bench.events()) == [7]


def test_an_end_behind_the_place_is_believed_the_second_time(bench: Bench) -> None:
    """The end may have moved on meanwhile."""
    lease = bench.started(7)
    bench.epoch(failure(KafkaError._PARTITION_EOF, 9))
    assert bench.events() == []
    bench.epoch(failure(KafkaError._PARTITION_EOF, 12))
    assert bench.events() == [EndReached(lease, 12)]


def test_records_below_the_place_say_nothing_of_where_the_jump_came_down(bench: Bench) -> None:
    bench.started(7)
    bench.epoch(record(0), record(1))
    bench.epoch(record(420))
    assert bench.events() == []
    bench.epoch(record(7))
    assert offsets(bench.events()) == [7]


def test_after_an_error_out_of_consume_every_place_is_sought_again(bench: Bench) -> None:
    """What it had taken off its queue is gone."""
    bench.started(0)
    bench.epoch(record(0))

    def broken() -> list[Message[Any, Any]]:
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    MadeUpClient.script.append(broken)
    bench.epoch()
    bench.epoch(record(500))
    bench.epoch(record(1))
    assert bench.client.asked("seek") == [("seek", (0, 1))] * 2
    assert offsets(bench.events()) == [0, 1]


def test_what_stays_is_moved_to_its_place_after_a_rebalance(bench: Bench) -> None:
    lease = bench.started(0)
    bench.epoch(record(0), record(1))
    bench.callback("on_assign", TWO)
    bench.client.calls.clear()
    bench.epoch(record(2))
    assert ("seek", (0, 2)) in bench.client.asked("seek")
    events = bench.events()
    assert offsets(events) == [0, 1, 2]
    assert lease in {event.lease for event in events if isinstance(event, Records)}


def test_records_of_a_partition_that_should_be_silent_park_it_again(bench: Bench) -> None:
    (lease,) = bench.assigned(ONE)
    bench.epoch()
    bench.client.calls.clear()
    bench.epoch(record(0))
    bench.epoch()
    assert bench.client.asked("pause") == [("pause", [0])]
    assert bench.inbox.is_live(lease)


def test_a_record_that_cannot_be_read_is_asked_for_again_and_never_passed_over(bench: Bench) -> None:
    lease = bench.started(0)
    bench.epoch(record(0), failure(KafkaError._BAD_MSG, 1, text="bad checksum"), record(2))
    read, told = bench.events()
    assert offsets([read]) == [0]
    assert told == Unreadable(lease, 1, "bad checksum")
    bench.epoch(record(3))
    assert bench.events() == []
    bench.client.calls.clear()
    bench.epoch(record(1), seconds=reader_module.HOLD_SECONDS)
    assert bench.client.asked("seek") == [("seek", (0, 1))]
    assert offsets(bench.events()) == [1]


def test_news_of_a_partition_that_is_not_ours_is_passed_over(bench: Bench) -> None:
    bench.started(0)
    late = [record(5, 1), failure(KafkaError._PARTITION_EOF, 6, 1), failure(KafkaError._AUTO_OFFSET_RESET, 6, 1)]
    bench.epoch(*late)
    assert bench.events() == []


def test_a_topic_that_is_missing_is_an_outage(bench: Bench) -> None:
    """Librdkafka says partition 0 of a topic that has none."""
    bench.epoch(failure(KafkaError.UNKNOWN_TOPIC_OR_PART, text="Subscribed topic not available: topic"))
    assert bench.outage() == "Kafka: Subscribed topic not available: topic (UNKNOWN_TOPIC_OR_PART)"


def test_the_end_moves_the_place(bench: Bench) -> None:
    lease = bench.started(0)
    bench.epoch(record(0), failure(KafkaError._PARTITION_EOF, 4))
    bench.epoch(record(6))
    first, end = bench.events()
    assert isinstance(first, Records)
    assert end == EndReached(lease, 4)
    (second,) = bench.events()
    assert isinstance(second, Records)
    assert (second.batch.span.start, second.batch.span.end) == (4, 7)


# A full inbox


def test_an_inbox_far_over_its_limit_is_stalled_at_once() -> None:
    bench = Bench(memory=1)
    bench.started(0)
    bench.epoch(record(0))
    bench.client.calls.clear()
    bench.epoch()
    assert bench.client.asked("consume", "pause") == [("pause", [0]), ("consume", 1)]


def test_as_many_records_are_taken_at_a_time_as_have_a_few_megabytes(bench: Bench) -> None:
    bench.started(0)
    large = Message(topic="topic", partition=0, offset=0, value=b"x", headers=[("h", bytes(MERGE_BYTES))])
    bench.epoch(large, record(1))
    bench.client.calls.clear()
    bench.epoch(record(2))
    bench.epoch()
    assert bench.client.asked("consume") == [("consume", 1), ("consume", MOST_PER_CALL)]


def test_a_full_inbox_is_polled_a_record_at_a_time_and_then_stalled() -> None:
    bench = Bench(memory=1 + RECORD_OVERHEAD)
    bench.started(0)
    bench.epoch(record(0))
    bench.client.calls.clear()
    bench.epoch(record(1))
    assert bench.client.asked("consume", "pause") == [("consume", 1)]
    bench.epoch(seconds=reader_module.STALL_SECONDS)
    assert bench.client.asked("consume", "pause") == [("pause", [0]), ("consume", 1)]
    assert offsets(bench.events()) == [0, 1]
    bench.epoch()
    bench.client.calls.clear()
    bench.epoch(record(2))
    assert bench.client.asked("seek", "consume") == [("seek", (0, 2)), ("consume", MOST_PER_CALL)]
    assert offsets(bench.events()) == [2]


# Commits


def answer_of(bench: Bench, lease: Lease, commit: Commit) -> Future[None]:
    answer: Future[None] = Future()
    bench.member.send(lease, commit, answer)
    return answer


def reply(bench: Bench, place: Place, error: KafkaError | None = None) -> None:
    def call() -> list[Message[Any, Any]]:
        bench.client.config["on_commit"](error, [place])
        return []

    MadeUpClient.script.append(call)
    bench.epoch()


def test_a_commit_is_answered_in_a_later_poll(bench: Bench) -> None:
    lease = bench.started()
    answer = answer_of(bench, lease, Commit(5, "text"))
    ((_, (place,)),) = bench.client.asked("commit")
    assert (place.topic, place.partition, place.offset, place.metadata) == ("topic", 0, 5, "text")
    assert not answer.done()
    reply(bench, place)
    assert answer.result(0) is None


def test_an_answer_to_an_older_commit_is_passed_over(bench: Bench) -> None:
    lease = bench.started()
    answer = answer_of(bench, lease, Commit(6))
    reply(bench, Place("topic", 0, 5), KafkaError(KafkaError._TIMED_OUT))
    reply(bench, Place("topic", 1, 6))
    assert not answer.done()
    reply(bench, Place("topic", 0, 6))
    assert answer.result(0) is None


@pytest.mark.parametrize("at_once", [True, False])
def test_a_refused_commit_costs_the_lease_and_brings_a_new_one(bench: Bench, at_once: bool) -> None:
    lease = bench.started()
    error = KafkaError(KafkaError.REBALANCE_IN_PROGRESS)
    bench.client.commit_error = KafkaException(error) if at_once else None
    answer = answer_of(bench, lease, Commit(5))
    if not at_once:
        reply(bench, Place("topic", 0, 5), error)
    with pytest.raises(LeaseLostError):
        answer.result(0)
    revoked, assigned = bench.events()
    assert revoked == Revoked((lease,))
    assert isinstance(assigned, Assigned)
    (new,) = assigned.leases
    bench.epoch(record(0))
    assert bench.events() == []
    bench.inbox.start(new, 0)
    bench.epoch(record(0))
    assert offsets(bench.events()) == [0]


def test_a_commit_that_failed_otherwise_leaves_the_lease(bench: Bench) -> None:
    lease = bench.started()
    answer = answer_of(bench, lease, Commit(5))
    reply(bench, Place("topic", 0, 5), KafkaError(KafkaError._TRANSPORT))
    with pytest.raises(UnknownOutcomeError):
        answer.result(0)
    assert bench.inbox.is_live(lease)


def test_nothing_is_sent_under_a_void_lease_or_for_nobody(bench: Bench) -> None:
    lease = bench.started()
    cancelled: Future[None] = Future()
    cancelled.cancel()
    bench.member.send(lease, Commit(5), cancelled)
    bench.inbox.void([ONE])
    void = answer_of(bench, lease, Commit(5))
    assert bench.client.asked("commit") == []
    with pytest.raises(LeaseLostError):
        void.result(0)


# The client's end


def fatal(code: int) -> Message[Any, Any]:
    return failure(KafkaError._FATAL, partition=-1, text=f"Fatal error: {KafkaError(code).str()}")


def test_a_client_given_up_is_followed_by_another(bench: Bench) -> None:
    lease = bench.started()
    answer = answer_of(bench, lease, Commit(5))
    first = bench.client
    bench.epoch(fatal(KafkaError.GROUP_MAX_SIZE_REACHED))
    assert first.asked("close") == [("close", None)]
    with pytest.raises(UnknownOutcomeError):
        answer.result(0)
    assert bench.events() == [Revoked((lease,), lost=True)]
    assert "max" in bench.outage()
    bench.epoch()
    assert len(MadeUpClient.made) == 1
    bench.epoch(seconds=member_module.RENEW_SECONDS)
    assert len(MadeUpClient.made) == 2
    assert bench.client.asked("subscribe") == [("subscribe", ["topic"])]
    assert bench.started() != lease


def test_an_instance_id_that_is_held_is_waited_for_one_session(bench: Bench) -> None:
    for _ in range(15):
        bench.epoch(fatal(KafkaError.UNRELEASED_INSTANCE_ID), seconds=member_module.RENEW_SECONDS)
    with pytest.raises(UsageError, match="instance_id"):
        bench.epoch(fatal(KafkaError.UNRELEASED_INSTANCE_ID), seconds=member_module.RENEW_SECONDS)


def test_an_assignment_ends_the_wait_for_an_instance_id(bench: Bench) -> None:
    for _ in range(15):
        bench.epoch(fatal(KafkaError.UNRELEASED_INSTANCE_ID), seconds=member_module.RENEW_SECONDS)
    bench.epoch(seconds=member_module.RENEW_SECONDS)
    bench.callback("on_assign", ONE)
    bench.epoch(fatal(KafkaError.UNRELEASED_INSTANCE_ID))


def test_one_that_was_fenced_ends(bench: Bench) -> None:
    lease = bench.started()
    with pytest.raises(UsageError, match="took over"):
        bench.epoch(fatal(KafkaError.FENCED_INSTANCE_ID))
    assert bench.events() == [Revoked((lease,), lost=True)]


def test_a_fatal_error_may_also_be_thrown(bench: Bench) -> None:
    def throw() -> list[Message[Any, Any]]:
        raise KafkaException(KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, "not you", fatal=True))

    lease = bench.started()
    MadeUpClient.script.append(throw)
    bench.epoch()
    assert bench.events() == [Revoked((lease,), lost=True)]
    assert bench.outage() == "not you"


def test_any_other_error_of_the_client_is_an_outage(bench: Bench) -> None:
    lease = bench.started()
    bench.epoch(failure(KafkaError.GROUP_AUTHORIZATION_FAILED, partition=-1, text="not you"))
    assert bench.outage() == "Kafka: not you (GROUP_AUTHORIZATION_FAILED)"
    assert bench.inbox.is_live(lease)


def test_rejoin_leaves_and_joins(bench: Bench) -> None:
    bench.client.calls.clear()
    bench.member.rejoin()
    assert bench.client.asked("unsubscribe", "subscribe") == [("unsubscribe", None), ("subscribe", ["topic"])]


def test_wrong_options_are_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_config: dict[str, Any]) -> MadeUpClient:
        raise KafkaException(KafkaError(KafkaError._INVALID_ARG, "No such configuration property"))

    monkeypatch.setattr(member_module, "Consumer", refuse)
    with pytest.raises(UsageError, match="No such configuration property"):
        Bench()


# The thread


def test_the_thread_ends_with_close_and_leaves_the_group(bench: Bench) -> None:
    done: Future[None] = Future()
    bench.reader.ask(lambda: done.set_result(None))
    done.result(10)
    assert bench.reader.close(10)
    assert ("close", None) in bench.client.calls


def test_a_reader_that_never_began_leaves_as_well(bench: Bench) -> None:
    assert bench.reader.close(0)
    assert ("close", None) in bench.client.calls


def test_what_the_thread_dies_of_is_raised_by_poll(bench: Bench) -> None:
    def die() -> None:
        raise RuntimeError("odd")

    bench.reader.ask(die)
    with pytest.raises(RuntimeError, match="odd"):
        bench.inbox.poll(10)
    assert bench.reader.close(10)
    assert ("close", None) in bench.client.calls
