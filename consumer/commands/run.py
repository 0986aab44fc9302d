"""`run`: the worker, for ever, or `--once` until what is due is sealed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from datetime import date
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Annotated, Self

import typer

from consumer.commands.session import Interrupted, session_of
from consumer.commands.tuning import settle, tune
from consumer.domain.errors import GaveUpError, HaltError, UsageError

if TYPE_CHECKING:
    from consumer.commands.wiring import Ports
    from consumer.domain.clock import Clock
    from consumer.observe.metrics import Metrics
    from consumer.settings.model import Settings
    from consumer.worker.loop import Worker
    from consumer.worker.one_shot import Ended

POLL_SECONDS = 0.25


def run(
    context: typer.Context,
    *,
    once: Annotated[bool, typer.Option("--once", help="Seal what is due, then end.")] = False,
    through: Annotated[
        str | None, typer.Option(help="With --once: seal exactly up to this day.", metavar="DAY")
    ] = None,
) -> None:
    """Run the worker: read, spool, and seal the day before at 04:00 UTC."""
    with _Stop(once=once) as stop:  # before all that takes time: a signal in between counts as well
        tune()
        from consumer.commands.wiring import ports_of  # noqa: PLC0415 - slow, --help does without

        settings = session_of(context).settings
        day = _through(through, once=once)
        ports = ports_of(settings, static=not once)
        stop.hurry = ports.broker.hurry
        try:
            _banner(settings)
            _work(settings, ports, stop, once=once, through=day)
        finally:
            ports.close()


class _Stop:
    """Set by SIGTERM or SIGINT; `run` ends with 0 by it, a one-shot command with 143 or 130. `hurry` is called then."""

    def __init__(self, *, once: bool) -> None:
        self.asked = threading.Event()
        self.number = 0
        self.hurry: Callable[[], None] = lambda: None
        self._once = once
        self._before = {number: signal.signal(number, self._on) for number in (signal.SIGTERM, signal.SIGINT)}

    def _on(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        self.asked.set()
        self.hurry()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def finish(self) -> None:
        """Raise where the signal decides the exit code."""
        if self.asked.is_set() and self._once:
            raise Interrupted(self.number)


def _through(text: str | None, *, once: bool) -> date | None:
    from consumer.domain.clock import SystemClock  # noqa: PLC0415 - with the rest of the command

    if text is None:
        return None
    if not once:
        raise UsageError("--through goes with --once")
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"--through: {text!r} is no day; write e.g. 2026-11-21") from error
    if day >= SystemClock().now().date():
        raise UsageError(f"--through: {day} is not over yet; the last day that can be sealed is yesterday (UTC)")
    return day


def _banner(settings: Settings) -> None:
    import structlog  # noqa: PLC0415 - slow, --help does without

    from consumer.settings.masking import masked  # noqa: PLC0415 - with the rest of the command

    structlog.get_logger("run").info("starting", settings=masked(settings))


def _work(settings: Settings, ports: Ports, stop: _Stop, *, once: bool, through: date | None) -> None:
    from consumer.commands.telemetry import watching  # noqa: PLC0415
    from consumer.commands.wiring import worker_of  # noqa: PLC0415 - slow, --help does without
    from consumer.monitor.listener import TelemetryListener  # noqa: PLC0415
    from consumer.observe.metrics import declare  # noqa: PLC0415

    metrics: Metrics = declare()
    listener = TelemetryListener(metrics, {stream.topic: stream.name for stream in settings.streams})
    worker = worker_of(settings, ports, listener, through=through)
    watch = _watch(worker, settings, ports.clock, through) if once else None
    ended = None
    with watching(settings, ports, worker, metrics, serve=not once) as monitor:
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
    from consumer.seal.decide import Schedule  # noqa: PLC0415 - with the rest of the command
    from consumer.worker.one_shot import OneShot  # noqa: PLC0415

    cutoff = Schedule(settings.schedule.seal_at, through).cutoff(clock.now())
    return OneShot(worker, clock, cutoff, settings.schedule.give_up_after).look


def _conclude(ended: Ended) -> None:
    import structlog  # noqa: PLC0415 - slow, --help does without

    log = structlog.get_logger("run")
    if ended.halts:
        for halt in ended.halts[1:]:
            log.error("halted", reason=str(halt.reason), message=halt.message)
        first = ended.halts[0]
        raise HaltError(first.reason, first.message)
    if ended.outage is not None:
        raise GaveUpError(str(ended.outage))
