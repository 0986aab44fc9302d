"""Everything that observes a running worker: the monitor, its gauges, the snapshot, and the HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import structlog
from prometheus_client import ProcessCollector

from consumer.commands.wiring import Ports
from consumer.monitor.gauges import Gauges
from consumer.monitor.monitor import Monitor
from consumer.observe.http import HttpServer
from consumer.observe.metrics import Metrics
from consumer.observe.site import Site
from consumer.observe.snapshot import SnapshotHolder
from consumer.settings.model import Settings
from consumer.source.broker import KafkaBroker
from consumer.source.stats import SourceStats
from consumer.worker.executor import ThreadExecutor
from consumer.worker.loop import Worker

STEADY = "steady"
"""What librdkafka calls a member that the group has taken in, with partitions or without."""

log = structlog.get_logger("http")


@contextmanager
def watching(settings: Settings, ports: Ports, worker: Worker, metrics: Metrics, *, serve: bool) -> Iterator[Monitor]:
    """A monitor of this worker, and where `serve` the pages that show it. Raises UsageError for a taken address."""
    ProcessCollector(registry=metrics.registry)
    board = SnapshotHolder(ports.clock.monotonic())

    def stats() -> SourceStats | None:
        return ports.broker.stats() if isinstance(ports.broker, KafkaBroker) else None

    def joined() -> bool:
        found = stats()
        return found is not None and found.group_state == STEADY

    with ExitStack() as stack:
        if serve and settings.http.address is not None:
            _serve(stack, settings.http.address, Site(board, metrics.registry, ports.clock, ports.broker.alive_at))
        executor = ThreadExecutor(len(worker.contexts) + 2, ports.broker.wake)
        stack.callback(executor.close)
        gauges = Gauges(metrics, ports.clock, ports.broker.alive_at, stats)
        monitor = Monitor(worker, board, gauges, executor, ports.clock, joined)
        stack.callback(monitor.close)
        yield monitor


def _serve(stack: ExitStack, address: tuple[str, int], site: Site) -> None:
    server = HttpServer(address, site)
    stack.callback(server.close)
    server.start()
    log.info("listening", address=f"{address[0]}:{server.port}")
