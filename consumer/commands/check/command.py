"""`check`: preflight. Tests everything that a worker needs, and says how to fix what fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import typer

from consumer.commands.check.cluster import broker_lines, option_lines, registry_lines, token_lines, topic_lines
from consumer.commands.check.exposure import exposure_lines
from consumer.commands.check.line import Line, Outcome, failed, ok
from consumer.commands.check.local import engine_line, settings_lines, spool_lines
from consumer.commands.check.privacy import key_lines, privacy_lines
from consumer.commands.check.store import column_lines, store_lines
from consumer.commands.exit_codes import ExitCode
from consumer.commands.output import print_json, say
from consumer.commands.status import FROM_OUTSIDE
from consumer.commands.wiring import schema_source_of, store_of
from consumer.domain.clock import SystemClock
from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.seal.inspection import Outlook, Outside
from consumer.settings.model import Settings, StreamSettings
from consumer.shape.native import extension
from consumer.source.acls import foreign_assignor, may_join_group, may_read_topic
from consumer.source.admin import KafkaAdmin
from consumer.source.client_config import try_options
from consumer.source.iam_tokens import sign
from consumer.source.port import ClusterAdmin
from consumer.store.port import Store

_T = TypeVar("_T")

THREADS = 16
WIDTH = 8


def check(settings: Settings, *, as_json: bool) -> None:
    """Print each check as it is done. Raises Exit if one failed."""
    lines = []
    for line in _lines(settings):
        lines.append(line)
        if not as_json:
            _tell(line)
    bad = sum(line.outcome is Outcome.FAILED for line in lines)
    if as_json:
        print_json({"sound": not bad, "checks": [line.to_json() for line in lines]})
    else:
        say(f"{bad} of {len(lines)} checks failed" if bad else f"all {len(lines)} checks passed")
    if bad:
        raise typer.Exit(ExitCode.FOUND)


def _lines(settings: Settings) -> Iterator[Line]:
    yield from settings_lines(settings, os.environ)
    yield engine_line(extension.find())
    for stream in settings.streams:
        yield from privacy_lines(settings, stream)
    yield from spool_lines(settings.spool)
    yield from exposure_lines(settings)
    yield from registry_lines(settings, schema_source_of(settings))
    options = _Watched(option_lines(settings.kafka, try_options))
    yield from options
    if not options.sound:
        return
    yield from token_lines(settings.kafka, sign)
    admin = KafkaAdmin(settings.kafka)
    may_join, beside = partial(may_join_group, settings.kafka), partial(foreign_assignor, settings.kafka)
    kafka = _Watched(broker_lines(settings, admin, may_join, beside))
    yield from kafka
    if kafka.sound:
        for stream in settings.streams:
            yield from topic_lines(stream, admin, lambda topic: may_read_topic(settings.kafka, topic))
    yield from _folder_lines(settings, admin if kafka.sound else None)


def _folder_lines(settings: Settings, admin: ClusterAdmin | None) -> Iterator[Line]:
    """Each destination once, and what each stream has in it; the seal logs where Kafka can be asked."""
    reached = {}
    for stream in settings.streams:
        store = store_of(stream.destination)
        if store.location not in reached:
            lines = _Watched(store_lines(store, SystemClock()))
            yield from lines
            reached[store.location] = lines.sound
        if reached[store.location]:
            yield from column_lines(stream, store)
            if admin is not None:
                yield from seal_log_lines(settings, stream, admin, store)


class _Watched:
    """Lines on their way, and whether none of them failed."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self._lines = lines
        self.sound = True

    def __iter__(self) -> Iterator[Line]:
        for line in self._lines:
            self.sound = self.sound and line.outcome is not Outcome.FAILED
            yield line


def seal_log_lines(settings: Settings, stream: StreamSettings, admin: ClusterAdmin, store: Store) -> Iterator[Line]:
    """What a worker would find on assignment: whether the seal logs, these settings and Kafka go together."""
    subject = f"stream {stream.name}"
    with ThreadPoolExecutor(THREADS) as pool:
        outside = Outside(settings, stream, admin, store, _once, pool)
        try:
            outlooks = outside.partitions(outside.topic())
        except HaltError as halt:
            if halt.reason not in {HaltReason.MISSING_TOPIC, HaltReason.COMPACTED_TOPIC}:  # the topic's lines say so
                yield failed(subject, "seal log", f"{halt.reason}: {halt.message}", "see the message")
            return
        except TransientError as error:
            yield failed(subject, "seal log", str(error), "check again once the outage is over")
            return
    halted = [outlook for outlook in outlooks if outlook.halt is not None]
    for outlook in halted:
        yield _halted_line(subject, outlook)
    if not halted:
        sealed = sum(outlook.found is not None and not outlook.found.chain.empty for outlook in outlooks)
        yield ok(subject, "seal log", f"{sealed} of {len(outlooks)} partitions have one; a worker would continue")
        yield from key_lines(settings, stream, store, outlooks)


def _halted_line(subject: str, outlook: Outlook) -> Line:
    assert outlook.halt is not None
    outer = FROM_OUTSIDE if outlook.halt.reason is HaltReason.RETENTION_HOLE else ""
    detail = f"{outlook.partition} halts: {outlook.halt.reason}"
    return failed(subject, "seal log", detail, outlook.halt.message + outer)


def _once(call: Callable[[], _T]) -> _T:
    return call()


def _tell(line: Line) -> None:
    word = line.outcome.upper() if line.todo else line.outcome
    say(f"{word:<{WIDTH}}{line.subject}: {line.check}: {line.detail}")
    if line.todo:
        say(f"{'':<{WIDTH}}to do: {line.todo}")
    sys.stdout.flush()
