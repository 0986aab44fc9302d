"""Everything that looks at a running worker: the monitor, its gauges, the board, and the HTTP server before them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog
from prometheus_client import ProcessCollector

from consumer.commands.assembly import Ports
from consumer.observe.board import Board
from consumer.observe.http import HttpServer, Site
from consumer.observe.metrics import Metrics
from consumer.settings.model import Settings
from consumer.source.kafka import KafkaBroker
from consumer.source.stats import SourceStats
from consumer.worker.gauges import Gauges
from consumer.worker.jobs import ThreadJobs
from consumer.worker.loop import Worker
from consumer.worker.monitor import Monitor

STEADY = "steady"
"""What librdkafka calls a member that the group has taken in, with partitions or without."""

log = structlog.get_logger("http")


@contextmanager
def watching(settings: Settings, ports: Ports, worker: Worker, metrics: Metrics, *, serve: bool) -> Iterator[Monitor]:
    """A monitor of this worker, and where `serve` the pages that show it. Raises UsageError for a taken address."""
    ProcessCollector(registry=metrics.registry)
    board = Board(ports.clock.monotonic())

    def stats() -> SourceStats | None:
        return ports.broker.stats() if isinstance(ports.broker, KafkaBroker) else None

    def joined() -> bool:
        found = stats()
        return found is not None and found.group_state == STEADY

    with ExitStack() as stack:
        if serve and settings.http.address is not None:
            _serve(stack, settings.http.address, Site(board, metrics.registry, ports.clock, ports.broker.alive_at))
        jobs = ThreadJobs(len(worker.desks) + 2, ports.broker.wake)
        stack.callback(jobs.close)
        gauges = Gauges(metrics, ports.clock, ports.broker.alive_at, stats)
        monitor = Monitor(worker, board, gauges, jobs, ports.clock, joined)
        stack.callback(monitor.close)
        yield monitor


def _serve(stack: ExitStack, address: tuple[str, int], site: Site) -> None:
    server = HttpServer(address, site)
    stack.callback(server.close)
    server.start()
    log.info("listening", address=f"{address[0]}:{server.port}")
