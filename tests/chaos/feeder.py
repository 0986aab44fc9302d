"""Records that keep coming: late ones, those of the day that is due, and those of days to come."""

import threading
from collections.abc import Iterator
from datetime import date, timedelta

from tests.harness.records import Made
from tests.harness.world import Stream, World

ONE_DAY = timedelta(days=1)
EVERY_SECONDS = 0.4
AT_ONCE = 10
FAT = 300_000
"""Bytes of a record that makes an object large enough for a multipart upload, with some more of its kind."""


class Feeder:
    """Sends a few records of each stream all the time, from a thread of its own, and more when asked."""

    def __init__(self, world: World, day: date) -> None:
        self._world = world
        self.day = day
        self._producer = world.ledger._producer()
        self._lock = threading.Lock()
        self._on = threading.Event()
        self._end = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="feeder", daemon=True)
        self._thread.start()

    def resume(self) -> None:
        """Send all the time."""
        self._on.set()

    def pause(self) -> None:
        """Send no more; returns when all that was sent is in the log."""
        self._on.clear()
        with self._lock:
            self._check()

    def close(self) -> None:
        """End the thread."""
        self._end.set()
        self._on.set()
        self._thread.join(120)

    def burst(self, count: int) -> None:
        """So many records of each stream at once."""
        with self._lock:
            self._check()
            self._send(count)

    def fat(self, stream: Stream, count: int, day: date) -> None:
        """Records of one day and one partition that make a large object."""
        with self._lock:
            made = [(stream.topic, 0, stream.maker.row(day, fat=FAT)) for _ in range(count)]
            self._world.ledger._send(self._producer, made)

    def widen(self, stream: Stream) -> None:
        """From now on also to the newest partition."""
        with self._lock:
            self._producer = self._world.ledger._producer()  # the old one learns of it in minutes
            stream.partitions += 1

    def _check(self) -> None:
        if self._failure is not None:
            raise AssertionError(f"records could not be sent: {self._failure}") from self._failure

    def _run(self) -> None:
        while self._on.wait() and not self._end.is_set():
            with self._lock:
                if self._on.is_set() and self._failure is None:
                    try:
                        self._send(AT_ONCE)
                    except BaseException as error:  # noqa: BLE001 - whoever asks next raises it
                        self._failure = error
            self._end.wait(EVERY_SECONDS)

    def _send(self, count: int) -> None:
        self._world.ledger._send(self._producer, self._records(count))

    def _records(self, count: int) -> Iterator[tuple[str, int, Made]]:
        for stream in self._world.streams.values():
            rng = stream.maker.rng
            for _ in range(count):
                day = self.day + rng.choice((-5, -2, -1, -1, 0, 0, 0, 0, 1, 1, 2)) * ONE_DAY
                yield stream.topic, rng.randrange(stream.partitions), stream.maker.mixed(day)
