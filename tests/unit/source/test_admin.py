"""Questions to the cluster: what a client that is made up answers at the wrong moment."""

from __future__ import annotations

from concurrent.futures import Future
from struct import pack
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as Place

from consumer.domain.errors import TransientError
from consumer.domain.offsets import Commit, LogEnds, TopicPartition
from consumer.settings.model import KafkaSettings
from consumer.source import admin as logview
from consumer.source.admin import KafkaAdmin

ONE = TopicPartition("topic", 0)


class MadeUpAdmin:
    """Answers from a script: an offset or an error."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.asked = 0

    def poll(self, _timeout: float) -> None:
        """What it met: nothing."""

    def list_offsets(self, request: dict[Place, Any], **_how: object) -> dict[Place, Future[Any]]:
        return {place: self._answer(lambda offset: SimpleNamespace(offset=offset)) for place in request}

    def _answer(self, make: Any) -> Future[Any]:
        self.asked += 1
        future: Future[Any] = Future()
        answer = self.answers.pop(0)
        if isinstance(answer, KafkaError):
            future.set_exception(KafkaException(answer))
        elif answer is not None:
            future.set_result(make(answer))
        return future


def view(admin: MadeUpAdmin, monkeypatch: pytest.MonkeyPatch) -> KafkaAdmin:
    monkeypatch.setattr(logview, "AdminClient", lambda _config: admin)
    monkeypatch.setattr(logview, "_FIRST_PAUSE", 0.0)
    monkeypatch.setattr(logview, "_REPEATS", 2)
    monkeypatch.setattr(logview, "_GRACE_SECONDS", 0.0)
    return KafkaAdmin(KafkaSettings(bootstrap_servers="localhost:9092"), seconds=0.01)


def test_the_end_is_never_below_the_stable_end(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = MadeUpAdmin(3, 12, 10)
    assert view(admin, monkeypatch).ends([ONE]) == {ONE: LogEnds(3, 12, 12)}


def test_a_leader_that_moves_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    moving = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)
    admin = MadeUpAdmin(moving, 1, 1, 0, 10, 10)
    assert view(admin, monkeypatch).ends([ONE]) == {ONE: LogEnds(0, 10, 10)}


def test_a_leader_that_never_settles_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = MadeUpAdmin(*[KafkaError(KafkaError.LEADER_NOT_AVAILABLE)] * 9)
    with pytest.raises(TransientError, match="topic:0"):
        view(admin, monkeypatch).ends([ONE])
    assert admin.asked == 9


def test_another_refusal_is_an_outage_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    admin = MadeUpAdmin(*[KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)] * 3)
    with pytest.raises(TransientError, match="AUTHORIZATION"):
        view(admin, monkeypatch).ends([ONE])
    assert admin.asked == 3


def test_no_answer_is_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TransientError, match="no answer"):
        view(MadeUpAdmin(None, 1, 1), monkeypatch).ends([ONE])


class MadeUpBystander:
    """A consumer that answers with one place, an error, or not before it may."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def committed(self, _places: list[Place], timeout: float) -> list[object]:
        assert timeout > 0
        if isinstance(self.answer, KafkaError):
            raise KafkaException(self.answer)
        return [self.answer]


def committed(answer: object, monkeypatch: pytest.MonkeyPatch) -> dict[TopicPartition, Commit | None]:
    made: list[dict[str, object]] = []

    def make(config: dict[str, object]) -> MadeUpBystander:
        made.append(config)
        return MadeUpBystander(answer)

    monkeypatch.setattr(logview, "Consumer", make)
    asked = view(MadeUpAdmin(), monkeypatch)
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
    asked = view(MadeUpAdmin(), monkeypatch)
    with asked._asking, pytest.raises(TransientError, match="committed offsets of group: no answer"):
        asked.committed("group", [ONE])


def test_where_no_answer_came_the_client_says_what_it_met(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[dict[str, Any]] = []

    def make(config: dict[str, Any]) -> MadeUpAdmin:
        made.append(config)
        return MadeUpAdmin(*[KafkaError(KafkaError._TIMED_OUT)] * 6)

    monkeypatch.setattr(logview, "AdminClient", make)
    asked = KafkaAdmin(KafkaSettings(bootstrap_servers="localhost:9092"), seconds=0.01)
    with pytest.raises(TransientError, match=r"security\.protocol or sasl\.mechanism in kafka\.options"):
        asked.ends([ONE])
    made[0]["error_cb"](KafkaError(KafkaError._AUTHENTICATION, "wrong password"))
    made[0]["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    with pytest.raises(TransientError, match=r"; wrong password$"):
        asked.ends([ONE])


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
        super().__init__()
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
    found = view(GroupAdmin(state, *members), monkeypatch).unowned("group", ["t"])
    assert found == {TopicPartition("t", number) for number in unowned}
