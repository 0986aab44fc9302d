"""The chosen moments of a kill: wait for one, so that the worker stands there."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.fleet import Fleet, agent
from tests.chaos.ground import Ground, within
from tests.chaos.plan import Kill
from tests.harness.gate import Asked, Order, Stop, Where, nth, puts
from tests.harness.sink import Sink

COMMIT_SECONDS = 0.7
"""From the last object's answer to the commit."""


def _record(method: str, path: str) -> bool:
    return method == "PUT" and "/_seals/" in path and "/_settings/" not in path


def _object(method: str, path: str) -> bool:
    return method == "PUT" and "/dt=" in path and ".csv" in path and "/_quarantine/" not in path


def _asks(wanted: str, part: str) -> Asked:
    return lambda method, path: method == wanted and part in path


REQUESTS: dict[str, tuple[Asked, Where]] = {
    "before the record": (_record, "before"),
    "after the record": (_record, "after"),
    "before an object": (_object, "before"),
    "after an object": (_object, "after"),
    "before the commit arrives": (_object, "after"),
    "before the commit is answered": (_object, "after"),
    "before a manifest": (puts("_manifest.json"), "before"),
    "after a manifest": (puts("_manifest.json"), "after"),
    "before a mark": (puts("_SUCCESS"), "before"),
    "before the list of days": (puts("_days.json"), "before"),
    "after the list of days": (puts("_days.json"), "after"),
    "before a quarantine object": (puts("/_quarantine/"), "before"),
    "before a multipart upload": (_asks("POST", "uploads"), "before"),
    "before a part": (_asks("PUT", "partNumber="), "before"),
    "after the last part": (_asks("POST", "uploadId="), "before"),
}
LOG = {"when partitions come": "rebalanced", "when it has recovered": "partition_recovered"}
MULTIPART = {"before a multipart upload", "before a part", "after the last part"}
NTH = {"before an object", "after an object", "before the record", "after the record"}


@dataclass(slots=True)
class Moment:
    """Where a worker shall stand when it is killed."""

    ground: Ground
    fleet: Fleet
    kill: Kill
    stop: Stop | None = None
    order: Order | None = None

    def arm(self) -> None:
        """Before the worker may come there."""
        if self.kill.moment in REQUESTS:
            asked, where = REQUESTS[self.kill.moment]
            counted = nth(asked, self.kill.nth if self.kill.moment in NTH else 1)
            self.stop = Stop(where)
            self.order = self.ground.gate.order(self.stop, counted, agent=agent(self.kill.slots[0]))

    def reached(self, sink: Sink, seconds: float) -> bool:
        """Wait until it stands there, or has ended, or does not come."""
        there = self._there(sink)
        within(seconds, lambda: there() or sink.code is not None)
        if there() and sink.code is None and self.kill.moment.startswith("before the commit"):
            self._lose_commit()
        return there() and sink.code is None

    def _there(self, sink: Sink) -> Callable[[], bool]:
        if self.stop is not None:
            return self.stop.reached.is_set
        event = LOG[self.kill.moment]
        return lambda: bool(sink.said(event))

    def _lose_commit(self) -> None:
        """The object's answer comes, and what is said to Kafka then, or what Kafka says, is lost."""
        assert self.stop is not None
        way = self.ground.ways[self.kill.slots[0]]
        way.black_hole(direction="upstream" if "arrives" in self.kill.moment else "downstream")
        self.stop.forward()
        within(COMMIT_SECONDS, lambda: False)

    def after_kill(self) -> None:
        """The held request never arrives, or arrives late; what Kafka was told and has not heard is lost."""
        if self.kill.moment.startswith("before the commit"):
            way = self.ground.ways[self.kill.slots[0]]
            way.cut()
            way.reset()
        if self.stop is None or self.order is None:
            return
        self.order.left = 0
        if self.kill.late:
            self.stop.forward()
        else:
            self.stop.drop()
