"""Questions to the cluster: what a client that is made up answers at the wrong moment."""

from __future__ import annotations

from concurrent.futures import Future
from datetime import UTC, datetime
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from consumer.domain.errors import TransientError
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source import admin as logview
from consumer.source import question_clients
from consumer.source.admin import KafkaAdmin

ONE = TopicPartition("topic", 0)


class MadeUpAdmin:
    """A client for the questions about topics and groups. It has no `list_offsets`: nothing may call that."""

    def poll(self, _timeout: float) -> None:
        """What it met: nothing."""


class MadeUpBystander:
    """A consumer that answers with one place, an error, or, where it is asked for offsets, from a script."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.looked_up: list[str] = []

    def poll(self, _timeout: float) -> None:
        """What it met: nothing."""

    def committed(self, _places: list[Place], timeout: float) -> list[object]:
        assert timeout > 0
        if isinstance(self.answers[0], KafkaError):
            raise KafkaException(self.answers[0])
        return self.answers

    def offsets_for_times(self, places: list[Place], timeout: float) -> list[object]:
        """An error, for the whole question or in the place; an offset; or None: the place as it was asked."""
        assert timeout > 0
        self.asked += 1
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaError):
            raise KafkaException(answer)
        (asked,) = places
        own = asked.offset if answer is None else answer
        error = answer[0] if isinstance(answer, tuple) else None
        return [SimpleNamespace(topic=asked.topic, partition=asked.partition, offset=own, error=error)]

    def list_topics(self, topic: str, timeout: float) -> None:
        assert timeout > 0
        self.looked_up.append(topic)
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))


def view(monkeypatch: pytest.MonkeyPatch, bystander: MadeUpBystander, admin: MadeUpAdmin | None = None) -> KafkaAdmin:
    monkeypatch.setattr(question_clients, "AdminClient", lambda _config: admin or MadeUpAdmin())
    monkeypatch.setattr(question_clients, "Consumer", lambda _config: bystander)
    monkeypatch.setattr(logview, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(logview, "_REPEATS", 2)
    return KafkaAdmin(KafkaSettings(bootstrap_servers="localhost:9092"), seconds=0.01)


def test_the_end_is_never_below_the_stable_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert view(monkeypatch, MadeUpBystander(3, 12, 10)).ends([ONE]) == {ONE: LogEnds(3, 12, 12)}


def test_a_leader_that_moves_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)
    bystander = MadeUpBystander(1, (moving,), 0, 10, 10)
    assert view(monkeypatch, bystander).ends([ONE]) == {ONE: LogEnds(0, 10, 10)}
    assert bystander.looked_up == []


@pytest.mark.parametrize("code", [KafkaError.LEADER_NOT_AVAILABLE, KafkaError._UNKNOWN_PARTITION])
def test_a_leader_that_never_settles_is_an_outage(code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    bystander = MadeUpBystander(*[KafkaError(code), (KafkaError(code),)] * 2)
    with pytest.raises(TransientError, match="topic:0"):
        view(monkeypatch, bystander).ends([ONE])
    assert bystander.asked == 3
    assert bystander.looked_up == ["topic"] * 3  # else the client would repeat what it remembers


def test_another_refusal_is_an_outage_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bystander = MadeUpBystander(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(TransientError, match="AUTHORIZATION"):
        view(monkeypatch, bystander).ends([ONE])
    assert bystander.asked == 1


def test_no_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match="topic:0: no answer"):
        view(monkeypatch, MadeUpBystander(None, 1, 1)).ends([ONE])
    noon = datetime(2026, 11, 26, 12, tzinfo=UTC)
    with pytest.raises(TransientError, match="topic:0: no answer"):
        view(monkeypatch, MadeUpBystander(None)).offset_at(ONE, noon)
    assert view(monkeypatch, MadeUpBystander(-1)).offset_at(ONE, noon) is None


def test_open_transactions_count_only_where_they_should(monkeypatch: pytest.MonkeyPatch) -> None:
    asked_for: list[tuple[str, int]] = []

    class Bystander(MadeUpBystander):
        def __init__(self, config: dict[str, str]) -> None:
            super().__init__(1, 1)
            self.isolation = config["isolation.level"]

        def offsets_for_times(self, places: list[Place], timeout: float) -> list[object]:
            asked_for.append((self.isolation, places[0].offset))
            return super().offsets_for_times(places, timeout)

    asked = view(monkeypatch, MadeUpBystander())
    monkeypatch.setattr(question_clients, "Consumer", Bystander)
    asked.ends([ONE])
    assert sorted(asked_for) == [
        ("read_committed", OFFSET_END),
        ("read_uncommitted", OFFSET_BEGINNING),
        ("read_uncommitted", OFFSET_END),
    ]


def committed(answer: object, monkeypatch: pytest.MonkeyPatch) -> dict[TopicPartition, Commit | None]:
    made: list[dict[str, object]] = []

    def make(config: dict[str, object]) -> MadeUpBystander:
        made.append(config)
        return MadeUpBystander(answer)

    asked = view(monkeypatch, MadeUpBystander())
    monkeypatch.setattr(question_clients, "Consumer", make)
    try:
        asked.committed("group", [ONE])
        return asked.committed("group", [ONE])
    finally:
        assert [config["group.id"] for config in made] == ["group"]


def test_an_error_in_the_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    bad = SimpleNamespace(topic="topic", partition=0, offset=-1, metadata=None, error=KafkaError(KafkaError.UNKNOWN))
    with pytest.raises(TransientError, match="topic:0"):
        committed(bad, monkeypatch)
    with pytest.raises(TransientError, match=r"committed offsets of group: .*NOT_COORDINATOR"):
        committed(KafkaError(KafkaError.NOT_COORDINATOR), monkeypatch)
    good = SimpleNamespace(topic="topic", partition=0, offset=5, metadata=None, error=None)
    assert committed(good, monkeypatch) == {ONE: Commit(5)}
    none = SimpleNamespace(topic="topic", partition=0, offset=-1001, metadata=None, error=None)
    assert committed(none, monkeypatch) == {ONE: None}


def test_who_stands_in_line_too_long_has_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = view(monkeypatch, MadeUpBystander())
    with asked._asking, pytest.raises(TransientError, match="committed offsets of group: no answer"):
        asked.committed("group", [ONE])


def test_where_no_answer_came_the_client_says_what_it_met(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def make(config: dict[str, Any]) -> MadeUpBystander:
        made.append(config)
        return MadeUpBystander(*[KafkaError(KafkaError._TIMED_OUT)] * 2)

    monkeypatch.setattr(question_clients, "Consumer", make)
    asked = KafkaAdmin(KafkaSettings(bootstrap_servers="localhost:9092"), seconds=0.01)
    with pytest.raises(TransientError, match=r"security\.protocol or sasl\.mechanism in kafka\.options"):
        asked.ends([ONE])
    made[0]["error_cb"](KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    made[0]["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(TransientError, match=r"; wrong password$"):
        asked.ends([ONE])


def test_clients_without_an_answer_for_a_minute_are_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[MadeUpBystander] = []
    now, noon = [1000.0], datetime(2026, 11, 26, 12, tzinfo=UTC)

    def make(_config: dict[str, Any]) -> MadeUpBystander:
        made.append(MadeUpBystander(*[KafkaError(KafkaError._ALL_BROKERS_DOWN)] * 9))
        return made[-1]

    def fails(at: float) -> int:
        now[0] = at
        with pytest.raises(TransientError):
            asked.offset_at(ONE, noon)
        return len(made)

    monkeypatch.setattr(question_clients, "Consumer", make)
    monkeypatch.setattr("consumer.source.admin.time.monotonic", lambda: now[0])
    asked = KafkaAdmin(KafkaSettings(bootstrap_servers="localhost:9092"), seconds=0.01)
    assert fails(1059.0) == 1
    assert fails(1060.0) == 1, "the question that finds no answer is not asked again"
    assert fails(1061.0) == 2
    assert fails(1119.0) == 2, "new clients get their time, too"
    made[-1].answers = [7]
    assert asked.offset_at(ONE, noon) == 7
    made[-1].answers = [KafkaError(KafkaError._ALL_BROKERS_DOWN)] * 9
    assert fails(1178.0) == 2, "there was an answer 59 seconds ago"


# Who owns what


def assignment(*topics: tuple[str, list[int]], user_data: bytes = b"") -> bytes:
    """A member's assignment as Kafka's classic consumers write it."""
    parts = [pack(f">h{len(name)}si{len(p)}i", len(name), name.encode(), len(p), *p) for name, p in topics]
    return pack(">hi", 1, len(topics)) + b"".join(parts) + pack(">i", len(user_data)) + user_data


def test_an_assignment_is_read() -> None:
    found = logview.assigned(assignment(("t", [0, 7]), ("empty", []), ("other.topic", [1]), user_data=b"x"))
    assert found == {TopicPartition("t", 0), TopicPartition("t", 7), TopicPartition("other.topic", 1)}
    assert logview.assigned(b"") == logview.assigned(assignment()) == set()


class GroupAdmin(MadeUpAdmin):
    """Knows one group of one topic with three partitions."""

    def __init__(self, state: str, *members: bytes) -> None:
        self._group = SimpleNamespace(state=state, members=[SimpleNamespace(assignment=each) for each in members])

    def list_groups(self, group: str, timeout: float) -> list[Any]:
        assert (group, timeout) == ("group", 0.01)
        return [self._group]

    def describe_topics(self, _topics: object, **_kwargs: float) -> dict[str, Future[Any]]:
        answer: Future[Any] = Future()
        answer.set_result(SimpleNamespace(partitions=[SimpleNamespace(id=number) for number in range(3)]))
        return {"t": answer}


@pytest.mark.parametrize(
    ("state", "members", "unowned"),
    [
        ("Stable", [assignment(("t", [0])), assignment(("t", [2]), ("u", [1]))], {1}),
        ("Stable", [assignment(("t", [0, 1, 2])), b""], set()),
        ("PreparingRebalance", [assignment(("t", [0]))], set()),
        ("Dead", [], set()),
    ],
)
def test_partitions_that_are_nobodys(
    state: str, members: list[bytes], unowned: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = view(monkeypatch, MadeUpBystander(), GroupAdmin(state, *members)).unowned("group", ["t"])
    assert found == {TopicPartition("t", number) for number in unowned}
