"""The servers of a campaign, all its own: Kafka with a way in for each worker, a store behind a gate, a proxy."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.gate import Gate, gate
from tests.harness.sink import POLL_SECONDS
from tests.services.kafka import Kafka
from tests.services.s3 import MinIO, unique_bucket
from tests.services.toxiproxy import Proxy, Toxiproxy

SESSION_SECONDS = 2.0
_GROUPS = {"group.consumer.session.timeout.ms": str(int(SESSION_SECONDS * 1000))}


@dataclass(frozen=True, slots=True)
class Ground:
    """`ways` are the proxies that the workers reach Kafka through, by slot."""

    kafka: Kafka
    store: MinIO
    gate: Gate
    ways: dict[str, Proxy]
    toxiproxy: Toxiproxy

    def bucket(self) -> str:
        """A new bucket that keeps every version of every object: so that no overwriting goes unseen."""
        name = unique_bucket()
        self.store.make_bucket(name)
        self.store.client().put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        return name

    def heal(self) -> None:
        """End all faults of the network."""
        self.gate.clear()
        self.clear(*self.ways.values())

    def clear(self, *ways: Proxy, cut: bool = False) -> None:
        """End all faults of these ways; `cut` their connections first."""
        try:
            for way in ways:
                if cut:
                    way.cut()
                way.reset()
        except OSError:
            self.toxiproxy.begin_anew(self.ways.values())


@contextmanager
def ground(folder: Path, slots: tuple[str, ...]) -> Iterator[Ground]:
    """Start them; they end with the block. May raise Unavailable."""
    with ExitStack() as stack:
        kafka = stack.enter_context(Kafka(folder / "kafka", extra=_GROUPS, detours=len(slots)))
        store = stack.enter_context(MinIO(folder / "minio"))
        toxiproxy = stack.enter_context(Toxiproxy(folder / "toxiproxy"))
        ways = {
            slot: toxiproxy.address.create(detour.upstream, detour.address)
            for slot, detour in zip(slots, kafka.address.detours, strict=True)
        }
        yield Ground(kafka, store, stack.enter_context(gate(store.upstream)), ways, toxiproxy)


def within(seconds: float, holds: Callable[[], object]) -> bool:
    """Wait until it holds, for so long at most."""
    until = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(POLL_SECONDS)
    return True
