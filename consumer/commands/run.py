"""`run`: the worker, forever, or `--once` until what is due is sealed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

import structlog

from consumer.commands.arguments import day_of
from consumer.commands.process import Stop
from consumer.commands.telemetry import watching
from consumer.commands.tuning import settle
from consumer.commands.wiring import ports_of, worker_of
from consumer.domain.clock import Clock, SystemClock
from consumer.domain.errors import GaveUpError, HaltError, UsageError
from consumer.monitor.listener import TelemetryListener, WriteDetails
from consumer.monitor.monitor import Monitor
from consumer.observe.metrics import declare
from consumer.seal.decide import Schedule
from consumer.settings.masking import masked
from consumer.settings.model import Settings
from consumer.shape.native import extension
from consumer.worker.loop import Worker
from consumer.worker.one_shot import Ended, OneShot

POLL_SECONDS = 0.25

log = structlog.get_logger("run")


def run_worker(settings: Settings, stop: Stop, write_details: WriteDetails, *, once: bool, through: str | None) -> None:
    """Run the worker until `stop` is requested, or with `once` until it is done. Raises what decides the exit code.

    `write_details` gets the unexpected errors that stop one partition.
    """
    day = _through(through, once=once)
    ports = ports_of(settings, static=not once)
    stop.hurry = ports.broker.hurry
    try:
        _banner(settings)
        metrics = declare()
        listener = TelemetryListener(metrics, {stream.topic: stream.name for stream in settings.streams}, write_details)
        worker = worker_of(settings, ports, listener, through=day)
        watch = _watch(worker, settings, ports.clock, day) if once else None
        with watching(settings, ports, worker, metrics, serve=not once) as monitor:
            _work(worker, monitor, stop, watch)
    finally:
        ports.close()


def _through(text: str | None, *, once: bool) -> date | None:
    if text is not None and not once:
        raise UsageError("--through needs --once")
    day = day_of("--through", text)
    if day is not None and day >= SystemClock().now().date():
        raise UsageError(f"--through: {day} is not over yet; the last day that can be sealed is yesterday (UTC)")
    return day


def _banner(settings: Settings) -> None:

    found = extension.find()
    log.info("starting", engine=found.engine, settings=masked(settings))
    if found.reason:
        log.warning("engine_exact", reason=found.reason, cost="rows take about fifty times the CPU time")


def _work(worker: Worker, monitor: Monitor, stop: Stop, watch: Callable[[], Ended | None] | None) -> None:
    ended = None
    settle()
    worker.start()
    try:
        while not stop.asked.is_set() and ended is None:
            worker.step(POLL_SECONDS)
            monitor.advance()
            ended = watch() if watch else None
    finally:
        worker.stop()
    stop.finish()
    if ended is not None:
        _conclude(ended)


def _watch(worker: Worker, settings: Settings, clock: Clock, through: date | None) -> Callable[[], Ended | None]:
    cutoff = Schedule(settings.schedule.seal_at, through).cutoff(clock.now())
    return OneShot(worker, clock, cutoff, settings.schedule.give_up_after).look


def _conclude(ended: Ended) -> None:

    log = structlog.get_logger("run")
    if ended.halts:
        for halt in ended.halts[1:]:
            log.error("halted", reason=str(halt.reason), message=halt.message)
        first = ended.halts[0]
        raise HaltError(first.reason, first.message)
    if ended.unexpected is not None:
        raise ended.unexpected
    if ended.outage is not None:
        raise GaveUpError(str(ended.outage))
