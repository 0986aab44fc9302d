"""Non-blocking schema lookup: ids are requested in the background, and the caller checks for the answer.

A registry's answer that an id is unknown may be outdated in a moment: the schema was registered just now, a replica
lags behind. So such an answer is only accepted after it has been the same for the whole grace, counted from the first
one to this process. Once a partition has waited for that, further ids are accepted as unknown at once for ten minutes:
otherwise a producer of random ids would stop the partition permanently.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from threading import Lock

from consumer.decode.registry import RegistryAnswer, SchemaSource
from consumer.domain.clock import Clock
from consumer.domain.errors import GraceError, PendingError, TooVariousError, TransientError
from consumer.domain.offsets import TopicPartition

MOST_IDS = 128
"""Ids of one batch that are looked up together; a batch with more is taken in halves."""
THREADS = 8
"""Questions under way at a time."""
MOST_ASKED = 4
"""Of them those of one partition: it leaves the others room, however long its answers take."""
MOST_REMEMBERED = 1 << 16
"""Ids whose answer is kept, known or not."""
MOST_TEXT = 64 << 20
"""Characters of schemas that are kept, beyond the `MOST_IDS` looked up last."""
FRESH_SECONDS = 30.0
"""How long an answer that is not final is kept before asking again: a schema registered later is found."""
AGAIN_SECONDS = 1.0
"""How long after an outage, or an answer that is not accepted yet, the registry is asked again."""
TRUST_SECONDS = 600.0
"""How long a partition that waited for a whole grace believes further answers at once."""


@dataclass(slots=True)
class _Entry:
    """What is known of one id. Times are of the monotonic clock."""

    answer: RegistryAnswer | None = None
    answered_at: float = 0.0
    doubtful_since: float | None = None
    outage: TransientError | None = None
    asked_again_at: float = 0.0
    asking: bool = False


@dataclass(slots=True)
class _Wait:
    """A partition that cannot continue yet: since when, when it looked last, whether a grace is what it waits for."""

    since: float
    looked_at: float
    in_grace: bool = False


class SchemaLookup:
    """`Registry` over a `SchemaSource`. `submit` runs a request in the background."""

    def __init__(
        self,
        source: SchemaSource,
        submit: Callable[[Callable[[], None]], object],
        clock: Clock,
        grace: float = 60.0,
    ) -> None:
        self._source, self._submit, self._clock, self._grace = source, submit, clock, grace
        self._lock = Lock()
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._text = 0
        self._asked: Counter[TopicPartition] = Counter()
        self._waiting: dict[TopicPartition, _Wait] = {}
        self._trusted_until: dict[TopicPartition, float] = {}

    def schemas(self, partition: TopicPartition, wanted: Mapping[int, int]) -> Mapping[int, str | None]:
        if len(wanted) > MOST_IDS:
            raise TooVariousError(f"{len(wanted)} different schema ids in one batch")
        with self._lock:
            now = self._clock.monotonic()
            wait = self._wait(partition, now)
            found: dict[int, str | None] = {}
            for schema_id in wanted:
                entry = self._entry(schema_id)
                if entry.answer is not None and self._believed(partition, entry, now, wait):
                    found[schema_id] = entry.answer.text
            missing = sorted(wanted.keys() - found.keys(), key=lambda one: (-wanted[one], one))
            if not missing:
                del self._waiting[partition]
                return found
            questions = self._questions(partition, missing, now)
            error = self._why(partition, missing, now, wait)
        for question in questions:
            self._submit(question)
        raise error

    def _wait(self, partition: TopicPartition, now: float) -> _Wait:
        """The wait under way; a new one if the partition has not looked for long (it may have been taken away)."""
        wait = self._waiting.get(partition)
        if wait is None or now - wait.looked_at > FRESH_SECONDS:
            wait = self._waiting[partition] = _Wait(now, now)
        wait.looked_at = now
        return wait

    def _entry(self, schema_id: int) -> _Entry:
        """What is known of an id, which becomes the one used last."""
        entry = self._entries.setdefault(schema_id, _Entry())
        self._entries.move_to_end(schema_id)
        return entry

    def _believed(self, partition: TopicPartition, entry: _Entry, now: float, wait: _Wait) -> bool:
        """Whether the answer decides. What came while the partition waits for others stays good until it continues."""
        assert entry.answer is not None
        if entry.answer.final:
            return True
        if entry.doubtful_since is None or entry.answered_at < min(wait.since, now - FRESH_SECONDS):
            return False
        if entry.answered_at - entry.doubtful_since >= self._grace:
            if wait.in_grace:
                self._trusted_until[partition] = now + TRUST_SECONDS
            return True
        return now < self._trusted_until.get(partition, 0.0)

    def _questions(self, partition: TopicPartition, missing: list[int], now: float) -> list[Callable[[], None]]:
        """What to ask now, in this order, as far as the partition's share goes."""
        questions: list[Callable[[], None]] = []
        for schema_id in missing:
            if self._asked[partition] >= MOST_ASKED:
                break
            entry = self._entries[schema_id]
            if not entry.asking and now >= entry.asked_again_at:
                entry.asking = True
                self._asked[partition] += 1
                questions.append(partial(self._ask, partition, schema_id, entry))
        return questions

    def _ask(self, partition: TopicPartition, schema_id: int, entry: _Entry) -> None:
        """One question, on a thread that may wait."""
        answer: RegistryAnswer | None = None
        outage: TransientError | None = None
        try:
            answer = self._source.ask(schema_id)
        except TransientError as error:
            outage = error
        except Exception as error:  # noqa: BLE001 - else the partition would wait for an answer that never comes
            outage = TransientError(f"schema {schema_id} cannot be looked up: {error!r:.300}")
        finally:
            with self._lock:
                self._asked[partition] -= 1
                entry.asking = False
                entry.outage, entry.asked_again_at = outage, self._clock.monotonic() + AGAIN_SECONDS
                if answer is not None and self._entries.get(schema_id) is entry:
                    self._note(entry, answer)

    def _note(self, entry: _Entry, answer: RegistryAnswer) -> None:
        self._text += len(answer.text or "") - (len(entry.answer.text or "") if entry.answer else 0)
        entry.answer, entry.answered_at = answer, self._clock.monotonic()
        if answer.final:
            entry.doubtful_since = None
        elif entry.doubtful_since is None:
            entry.doubtful_since = entry.answered_at
        self._forget()

    def _forget(self) -> None:
        """Keep what was used last, within the bounds."""
        while len(self._entries) > MOST_REMEMBERED or (self._text > MOST_TEXT and len(self._entries) > MOST_IDS):
            _, entry = self._entries.popitem(last=False)
            if entry.answer is not None:
                self._text -= len(entry.answer.text or "")

    def _why(self, partition: TopicPartition, missing: list[int], now: float, wait: _Wait) -> TransientError:
        """Why the partition must wait."""
        entries = [(schema_id, self._entries[schema_id]) for schema_id in missing]
        outage = next((entry.outage for _, entry in entries if entry.outage is not None), None)
        if outage is not None:
            return TransientError(str(outage))
        doubted = next((one for one, entry in entries if entry.answer is not None and not entry.answer.final), None)
        if doubted is None or now < self._trusted_until.get(partition, 0.0):
            return PendingError(f"schema {missing[0]} is asked for")
        wait.in_grace = True
        return GraceError(
            f"the schema registry does not know schema {doubted}: its records wait for {self._grace:g} s "
            "(schema_registry.grace) before they go to quarantine"
        )
