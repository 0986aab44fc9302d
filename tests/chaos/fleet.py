"""The workers of a campaign: one slot each, with a spool and a way to Kafka of its own."""

import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from tests.chaos.ground import SESSION_SECONDS, Ground, within
from tests.chaos.spoils import keep_copy, spoil
from tests.harness.sink import Sink
from tests.harness.world import World

STOP_SECONDS = 20
"""A worker that is asked to end does so within this."""
TERMINATED = {0, 128 + signal.SIGTERM, -signal.SIGTERM}
"""Ends of what is asked to end: of a one-shot worker, and of any in the first moments of its start."""
SMALL_SPOOL = "40KiB"
"""So small that what arrives while a live worker waits must be spilled."""
KAFKA = {
    "classic": {"session.timeout.ms": int(SESSION_SECONDS * 1000), "heartbeat.interval.ms": 400},
    "consumer": {},
}
QUICK = {"topic.metadata.refresh.interval.ms": 1000, "reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 1000}


@dataclass(slots=True)
class Slot:
    """One worker, or the place of one. `cutoff` is that of a one-shot worker."""

    name: str
    spool: Path
    older: Path
    sink: Sink | None = None
    cutoff: date | None = None
    ending: set[int] = field(default_factory=set)

    @property
    def up(self) -> bool:
        """Whether its process runs."""
        return self.sink is not None and self.sink.code is None


class Fleet:
    """Starts, kills and stops workers, and minds how they end. `cutoff` None: live workers that spill."""

    def __init__(self, world: World, ground: Ground, *, static: bool, counts: Counter[str]) -> None:
        self._world = world
        self._ground = ground
        self._static = static
        self.counts = counts
        self.cutoff: date | None = None
        self.slots = {name: Slot(name, world.spool(name), world.home / f"older-{name}") for name in sorted(ground.ways)}

    def start(self, name: str) -> Sink:
        """Start the worker of a slot that is down."""
        slot = self.slots[name]
        self._reap(slot)
        self.counts["starts"] += 1
        over: dict[str, Any] = {
            "kafka": {
                "bootstrap_servers": self._ground.ways[name].address,
                "options": {**KAFKA[self._world.protocol], **QUICK},
            },
            "destination": {"multipart_threshold": "5MiB"},
            "schedule": {"give_up_after": "3m"},
        }
        env = {"AWS_EXECUTION_ENV": agent(name)}
        slot.cutoff = self.cutoff
        if self.cutoff is not None:
            slot.ending = {0}
            slot.sink = self._world.once(self.cutoff, worker=name, over=over, env=env)
        else:
            slot.ending = set()
            over["spool"] = {"max_bytes": SMALL_SPOOL}
            if self._static:
                over["kafka"]["instance_id"] = f"{self._world.group}-{name}"
            slot.sink = self._world.waiting(name, over=over, env=env)
        return slot.sink

    def ready(self, name: str) -> Sink:
        """A worker of this slot with the present cutoff; one that works on an older day ends first, if it does."""
        slot = self.slots[name]
        if slot.up and slot.cutoff != self.cutoff:
            within(5, lambda: not slot.up)
        if slot.up and slot.sink is not None:
            return slot.sink
        return self.start(name)

    def company(self, name: str, count: int) -> None:
        """So many others beside this one."""
        others = [each for each in self.slots if each != name]
        missing = [each for each in others if not self.slots[each].up]
        for each in missing[: max(0, count - (len(others) - len(missing)))]:
            self.start(each)

    def kill(self, name: str, how: str) -> None:
        """Kill -9; then the spool is treated like that."""
        slot = self.slots[name]
        assert slot.sink is not None
        assert slot.up
        slot.sink.kill()
        slot.sink = None
        self.counts["kills"] += 1
        others = [each.older for each in self.slots.values() if each is not slot and each.older.exists()]
        done = spoil(how, slot.spool, slot.older, others[0] if others else slot.older.with_name("none"))
        self.counts[f"spool: {how if done else 'kept'}"] += 1
        if how == "kept":
            keep_copy(slot.spool, slot.older)

    def terminate(self, *names: str) -> None:
        """Ask them to end, and wait for it."""
        asked = [self.slots[name] for name in names if self.slots[name].up]
        for slot in asked:
            assert slot.sink is not None
            slot.ending |= {0} if slot.cutoff is None and slot.sink.said("starting") else TERMINATED
            slot.sink.terminate()
        for slot in asked:
            assert slot.sink is not None
            began = time.monotonic()
            slot.sink.wait(STOP_SECONDS)
            self.counts["slowest stop, ms"] = max(
                self.counts["slowest stop, ms"], int((time.monotonic() - began) * 1000)
            )
            self._reap(slot)

    def settle(self, seconds: float) -> None:
        """Every one-shot worker ends by itself; live ones are asked to."""
        self.terminate(*(slot.name for slot in self.slots.values() if slot.cutoff is None))
        for slot in self.slots.values():
            if slot.sink is not None:
                slot.sink.wait(seconds)
            self._reap(slot)

    def check(self) -> None:
        """No worker ended in a way that is not asked for."""
        for slot in self.slots.values():
            if not slot.up:
                self._reap(slot)

    def _reap(self, slot: Slot) -> None:
        if slot.sink is None:
            return
        code = slot.sink.wait(0.1)
        assert code in slot.ending, f"worker {slot.name} ended with {code}\n{slot.sink.log}\n{slot.sink.tail()}"
        slot.sink = None


def agent(name: str) -> str:
    """What the requests of a slot's worker say in User-Agent."""
    return f"slot-{name}."
