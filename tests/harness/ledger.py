"""What was produced: every record with the offset that the broker reported, and what must become of it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaError, Message, Producer

from tests.harness.records import Made

FLUSH_SECONDS = 60
AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class Sent:
    """A record in the log. `visible` is False for one of an aborted transaction."""

    made: Made
    partition: int
    offset: int
    visible: bool = True


@dataclass(slots=True)
class Ledger:
    """Sends records and keeps the list, by (topic, partition)."""

    bootstrap_servers: str
    sent: dict[tuple[str, int], list[Sent]] = field(default_factory=lambda: defaultdict(list))
    _options: dict[str, str] = field(default_factory=dict)

    def send(self, topic: str, partition: int, records: Iterable[Made], **options: str) -> None:
        """Send these and wait for all reports. `options` are the producer's, `_` for a dot."""
        self.send_all((topic, partition, made) for made in records) if not options else self._send(
            self._producer(**options), ((topic, partition, made) for made in records)
        )

    def send_all(self, records: Iterable[tuple[str, int, Made]]) -> None:
        """Send (topic, partition, record) and wait for all reports."""
        self._send(self._producer(), records)

    def transaction(self, name: str, records: Iterable[tuple[str, int, Made]], *, commit: bool) -> None:
        """Send these in one transaction and end it."""
        producer = self.open_transaction(name, records, visible=commit)
        if commit:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)

    def open_transaction(self, name: str, records: Iterable[tuple[str, int, Made]], *, visible: bool) -> Producer:
        """Send these in a transaction that the caller ends: `visible` says how."""
        producer = self._producer(transactional_id=name)
        producer.init_transactions(30)
        producer.begin_transaction()
        self._send(producer, records, visible=visible)
        return producer

    def in_order(self, topic: str, partition: int) -> list[Sent]:
        """What the log of this partition holds."""
        return sorted(self.sent[(topic, partition)], key=lambda sent: sent.offset)

    def rows(self) -> int:
        """How many records became visible."""
        return sum(sent.visible for log in self.sent.values() for sent in log)

    def _producer(self, **options: str) -> Producer:
        named = {name.replace("_", "."): value for name, value in options.items()}
        return Producer(
            {
                "bootstrap.servers": self.bootstrap_servers,
                "enable.idempotence": True,
                "linger.ms": 20,
                "queue.buffering.max.messages": 2 * AT_ONCE,
                **self._options,
                **named,
            }
        )

    def _send(self, producer: Producer, records: Iterable[tuple[str, int, Made]], *, visible: bool = True) -> None:
        failed: list[KafkaError] = []
        for count, (topic, partition, made) in enumerate(records, start=1):
            report = self._reporter(topic, partition, made, failed, visible=visible)
            producer.produce(topic, made.value, made.key, partition, on_delivery=report, timestamp=made.timestamp)
            if count % AT_ONCE == 0:
                producer.flush(FLUSH_SECONDS)
            elif count % 1000 == 0:
                producer.poll(0)
        assert producer.flush(FLUSH_SECONDS) == 0
        assert not failed, failed[:3]

    def _reporter(
        self, topic: str, partition: int, made: Made, failed: list[KafkaError], *, visible: bool
    ) -> "Reporter":
        # a row's bytes are not needed again: only what is quarantined is compared with what was sent
        kept = made if made.fate == "bad" else replace(made, value=None)
        return Reporter(self.sent[(topic, partition)], kept, partition, failed, visible)


@dataclass(frozen=True, slots=True)
class Reporter:
    """Takes the broker's report of one record."""

    log: list[Sent]
    made: Made
    partition: int
    failed: list[KafkaError]
    visible: bool

    def __call__(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self.failed.append(error)
        else:
            offset = message.offset()
            assert offset is not None
            self.log.append(Sent(self.made, self.partition, offset, self.visible))
