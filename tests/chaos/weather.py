"""Faults that last a while: the network to Kafka, and what the store answers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from tests.chaos.ground import Ground
from tests.chaos.plan import Fault
from tests.harness.gate import Answer, Cut, Delay, Lose, Redate, anything, puts
from tests.harness.gate import Fault as Hit
from tests.services.toxiproxy import Proxy

SLOW_MILLISECONDS = 250
EVERY_PUT = puts("/")


@contextmanager
def weather(ground: Ground, fault: Fault | None) -> Iterator[None]:
    """It is like that within the block, or until so many requests were hit."""
    if fault is None:
        yield
    elif fault.name.startswith("kafka"):
        with _kafka(ground, fault):
            yield
    else:
        hit, asked, always = STORE[fault.name]
        order = ground.gate.order(hit, asked, -1 if always else fault.count)
        try:
            yield
        finally:
            order.left = 0


STORE: dict[str, tuple[Hit, Callable[[str, str], bool], bool]] = {
    "store down": (Cut(0), anything, True),
    "store slow": (Delay(0.4), anything, False),
    "store 503": (Answer(503, "SlowDown"), anything, False),
    "store 500": (Answer(500, "InternalError"), anything, False),
    "store 429": (Answer(429, "TooManyRequests"), anything, False),
    "store 409": (Answer(409, "ConditionalRequestConflict"), EVERY_PUT, False),
    "store refuses (403)": (Answer(403, "ExpiredToken"), anything, False),
    "store's answers lost": (Lose(), EVERY_PUT, False),
    "store cuts bodies": (Cut(100), EVERY_PUT, False),
    "store's clock behind": (Redate(timedelta(hours=-1)), anything, True),
}


@contextmanager
def _kafka(ground: Ground, fault: Fault) -> Iterator[None]:
    ways = [ground.ways[fault.slot]] if fault.name == "kafka cut for one" else list(ground.ways.values())
    begin: Callable[[Proxy], object] = {
        "kafka cut for one": Proxy.cut,
        "kafka cut for all": Proxy.cut,
        "kafka slow": lambda way: way.latency(SLOW_MILLISECONDS),
        "kafka's answers lost": Proxy.black_hole,
    }[fault.name]
    for way in ways:
        begin(way)
    try:
        yield
    finally:
        # what hangs in a black hole must not come through later
        ground.clear(*ways, cut=fault.name == "kafka's answers lost")
