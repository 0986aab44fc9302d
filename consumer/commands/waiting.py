"""`status --wait`: until a day is published, or an operator must act first."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

import orjson
import structlog

from consumer.domain import json_fields
from consumer.domain.clock import Clock
from consumer.domain.days import ONE_DAY, midnight
from consumer.domain.errors import GaveUpError, HaltError, HaltReason, TransientError
from consumer.seal.inspection import Outside
from consumer.seal.keys import manifest_key, success_key
from consumer.seal.manifest import manifest_from

LOOK_SECONDS = 5.0
"""Between two looks."""
ANSWER_SECONDS = 2.0
"""How long the worker on this machine may take to answer."""
MOST_ANSWER = 16 * 1024 * 1024
"""Bytes of that answer that are read."""

log = structlog.get_logger("wait")

T = TypeVar("T")
Place = tuple[str, int | None]
"""A stream, and one of its partitions; None: all of them."""
WorkerHalts = Callable[[], dict[Place, str] | None]
"""What a worker reports as halted, with the reason; None if none answers."""


def call_once(call: Callable[[], T], /) -> T:
    """No patience for one question: the next look asks again."""
    return call()


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for one day of some streams. `ask` of each outside raises TransientError at once."""

    day: date
    outsides: Sequence[Outside]
    worker_halts: WorkerHalts
    clock: Clock
    sleep: Callable[[float], None]

    def until_published(self, patience: timedelta) -> dict[str, int]:
        """The revision of the day in each stream.

        Raises HaltError if one of them is halted before it has published the day, GaveUpError when `patience` ends, or
        at once if the day itself ends later.
        """
        until = self.clock.monotonic() + patience.total_seconds()
        found: dict[str, int] = {}
        outage = ""
        while True:
            try:
                outage = ""
                self._look(found)
            except TransientError as error:
                outage = str(error)
                log.warning("outage", error=outage)
            if len(found) == len(self.outsides):
                return {outside.stream.name: found[outside.stream.name] for outside in self.outsides}
            left = until - self.clock.monotonic()
            if left <= 0:
                raise GaveUpError(self._late(found, patience, outage))
            if midnight(self.day) - self.clock.now() > timedelta(seconds=left) - ONE_DAY:
                raise GaveUpError(
                    f"{self.day} ends after the timeout of {patience}, and no day is published before its end: use a"
                    " longer --timeout"
                )
            self.sleep(min(LOOK_SECONDS, left))

    def _look(self, found: dict[str, int]) -> None:
        """Note what is published by now, and see whether the rest may still come."""
        for outside in self.outsides:
            if outside.stream.name not in found and (revision := published(outside, self.day)) is not None:
                found[outside.stream.name] = revision
                log.info("published", stream=outside.stream.name, day=str(self.day), revision=revision)
        missing = [outside for outside in self.outsides if outside.stream.name not in found]
        if missing:
            said = self.worker_halts()
            for outside in missing:
                _raise_halt(outside, said)

    def _late(self, found: dict[str, int], patience: timedelta, outage: str) -> str:
        names = ", ".join(outside.stream.name for outside in self.outsides if outside.stream.name not in found)
        why = f"; {outage}" if outage else ""
        return f"{self.day} is not published for {names} after {patience}{why}"


def published(outside: Outside, day: date) -> int | None:
    """The revision of a published day; None if it has no `_SUCCESS` yet."""
    name, store = outside.stream.name, outside.store
    if outside.ask(lambda: store.head(success_key(name, day))) is None:
        return None
    stored = outside.ask(lambda: store.get(manifest_key(name, day)))
    return None if stored is None else int(manifest_from(stored)["revision"])


def _raise_halt(outside: Outside, said: dict[Place, str] | None) -> None:
    """Raise the halt that chain, log and settings show, or that a worker reports itself.

    A hole from retention does not count while a worker keeps working: its spool may cover it.
    """
    name = outside.stream.name
    for outlook in outside.partitions(outside.topic()):
        halt, number = outlook.halt, outlook.partition.partition
        covered = said is not None and not {(name, number), (name, None)} & said.keys()
        if halt is not None and not (halt.reason is HaltReason.RETENTION_HOLE and covered):
            raise halt
    for (stream, partition), reason in (said or {}).items():
        if stream == name:
            where = stream if partition is None else f"{stream} {partition}"
            raise HaltError(_reason(reason), f"the worker says that {where} is halted; its /status and log say why")


def _reason(text: str) -> HaltReason:
    try:
        return HaltReason(text)
    except ValueError:
        return HaltReason.CHAIN_NEWER  # a worker of a newer release has more reasons than we know


def worker_halts(address: tuple[str, int] | None) -> dict[Place, str] | None:
    """What the worker listening here reports as halted; None if none answers in a usable way."""
    if address is None or not address[1]:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(address[0], address[0])  # noqa: S104 - asked, not bound
    connection = http.client.HTTPConnection(host, address[1], timeout=ANSWER_SECONDS)
    try:
        connection.request("GET", "/status", headers={"Accept": "application/json"})
        raw = json_fields.table(orjson.loads(connection.getresponse().read(MOST_ANSWER)), "the status")
        return {
            (json_fields.text(item, "stream"), json_fields.whole_or_none(item, "partition")): json_fields.text(
                item, "reason"
            )
            for item in json_fields.tables(raw, "halted")
        }
    except (OSError, http.client.HTTPException, KeyError, ValueError) as error:
        log.debug("no_worker_status", address=f"{host}:{address[1]}", error=str(error))
        return None
    finally:
        connection.close()
