"""One schedule: a seed's worth of days, with all that may go wrong in them, then quiet, then the oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from consumer.domain.errors import HaltReason
from consumer.domain.offsets import Commit
from consumer.seal.decide import Schedule
from consumer.worker.events import (
    PartitionHalted,
    PartitionRecovered,
    PublishingHalted,
    SealConsidered,
    SealFinished,
    UnexpectedErrorMet,
)
from tests.fakes.kafka.log import Transaction
from tests.fakes.store import MemoryStore
from tests.simulation import rows
from tests.simulation.operator import accept_gaps
from tests.simulation.oracle import Violation, Watch, check_commits, check_folder, records_of
from tests.simulation.world import SEAL_AT, START, Machine, World

STEPS = 45
QUIET_DAYS = 3
SMALL = 10_000
"""A spool of fewer bytes is a small one."""
DUE = datetime(2026, 3, 1, tzinfo=UTC) + SEAL_AT
MOST_TURNS = 60_000


@dataclass(slots=True)
class Outcome:
    """What a schedule went through."""

    rows: int = 0
    seals: int = 0
    spills: int = 0
    kills: int = 0
    frozen: int = 0
    gaps: int = 0
    turns: int = 0
    halts: list[str] = field(default_factory=list)
    actions: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Script:
    """Draws what happens next."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.world = World(seed)
        world = self.world
        if world.random.random() < 0.4:
            self._small_spool()
        self.holes = world.random.random() < 0.25
        self.outcome = Outcome()
        self.transactions: dict[Transaction, float] = {}
        self.serial = 0
        self.heard = 0
        self.newest_schema = 0
        self.commits_seen: object = None
        watch = Watch(world.cluster)
        world.watchers.append(watch.wrote)
        self.actions: list[tuple[int, Callable[[], None]]] = [
            (30, self.produce),
            (6, self.kill),
            (8, self.start),
            (4, self.freeze),
            (5, self.thaw),
            (3, self.evict),
            (3, self.transaction),
            (3, self.expire_offset),
            (2, self.move_offset),
            (2, self.retention),
            (2, self.change_settings),
            (1, self.new_folder),
            (1, self.grow),
            (2, self.hurt_spool),
            (2, self.weather),
            (3, self.schemas),
            (2, self.doze),
        ]
        if self.holes:
            self.actions += [(3, self.hole), (3, self.accept)]

    def _small_spool(self) -> None:
        self.world.spool_bytes = self.world.random.choice([300, 700, 2000])
        for machine in self.world.machines:
            machine.disk.capacity = self.world.spool_bytes * self.world.random.choice([2, 4])

    def run(self) -> Outcome:
        """The schedule, from its first record to the oracle's word."""
        world = self.world
        for machine in world.machines[: world.random.choice([1, 2, 2, 3])]:
            world.start(machine, self._skew())
        weights = [weight for weight, _ in self.actions]
        for _ in range(STEPS):
            action = world.random.choices([action for _, action in self.actions], weights)[0]
            self.outcome.actions.append(action.__name__)
            action()
            self.go(world.random.choice([3, 20, 60]), world.random.choice([0.0, 60.0, 1800.0, 7200.0, 14_400.0]))
        self.quiet()
        self.judge()
        return self.outcome

    def go(self, turns: int, seconds: float) -> None:
        """Let the processes run for some turns, and then until some time has passed."""
        world, end = self.world, self.world.hub.seconds + seconds
        while turns > 0 or world.hub.seconds < end:
            turns -= 1
            self.outcome.turns += 1
            if self.outcome.turns > MOST_TURNS:
                raise Violation(f"no end after {MOST_TURNS} turns: {self._notes()[-5:]}")
            if not world.hub.turn():
                world.hub.seconds = max(world.hub.seconds, end)
                return
            if len(world.events) > self.heard:
                self._see_errors()
            if self.transactions:
                self._end_transactions()
            if turns % 16 == 0 and not world.commits_moved:
                self._check_commits()

    def _check_commits(self) -> None:
        """Unless bucket, commits and partitions are as they were when they were last found in order."""
        bucket, cluster = self.world.bucket, self.world.cluster
        seen = (bucket, bucket.version, dict(cluster.commits), len(cluster.histories))
        if seen != self.commits_seen:
            check_commits(bucket, cluster)
            self.commits_seen = seen

    def _see_errors(self) -> None:
        """A worker survives an error that nobody foresaw; a schedule must not. The oracle's word is one as well."""
        for event in self.world.events[self.heard :]:
            if isinstance(event, UnexpectedErrorMet):
                raise event.error
        self.heard = len(self.world.events)

    def _skew(self) -> timedelta:
        return timedelta(seconds=self.world.random.choice([0, 0, 0, -30, 50, -600, 300]))

    # -- what happens ------------------------------------------------------------------------------------------------

    def produce(self) -> None:
        world = self.world
        for _ in range(world.random.randint(1, 25)):
            log = world.random.randrange(len(world.cluster.histories))
            self._append(log)

    def _append(self, number: int, transaction: Transaction | None = None) -> None:
        world, random = self.world, self.world.random
        self.serial += 1
        now = world.hub.now()
        day = now.date() + timedelta(days=random.choices([0, -1, -2, -3, 1, 3, 5, 9], [60, 14, 5, 3, 4, 2, 2, 1])[0])
        kind = random.choices(["a", "b", "f"], [70, 25, 5])[0]
        schema = random.choices([0, self.newest_schema], [9, 1])[0]
        data = random.choices([rows.value(str(self.serial), kind, day, schema), b"bad", None], [92, 5, 3])[0]
        world.cluster.histories[number].append(data, int(now.timestamp() * 1000), now, transaction)

    def transaction(self) -> None:
        """Open one; it ends by itself, mostly soon."""
        world, transaction = self.world, Transaction()
        lasts = world.random.choice([10.0, 600.0, 1200.0, 4000.0])
        self.transactions[transaction] = world.hub.seconds + lasts
        for _ in range(world.random.randint(1, 6)):
            self._append(world.random.randrange(len(world.cluster.histories)), transaction)

    def _end_transactions(self) -> None:
        for transaction, end in list(self.transactions.items()):
            if self.world.hub.seconds >= end:
                del self.transactions[transaction]
                if self.world.random.random() < 0.6:
                    transaction.commit()
                else:
                    transaction.abort()

    def _running(self) -> list[Machine]:
        return [machine for machine in self.world.machines if machine.process is not None]

    def kill(self) -> None:
        running = self._running()
        if running:
            self.outcome.kills += 1
            self.world.kill(self.world.random.choice(running))

    def start(self) -> None:
        idle = [machine for machine in self.world.machines if machine.process is None]
        if idle:
            self.world.start(self.world.random.choice(idle), self._skew())

    def freeze(self) -> None:
        awake = [machine for machine in self._running() if machine.process and not machine.process.frozen]
        if awake:
            self.outcome.frozen += 1
            process = self.world.random.choice(awake).process
            assert process is not None
            process.frozen = True

    def evict(self) -> None:
        """A session runs out: mostly of one that is frozen."""
        running = self._running()
        frozen = [machine for machine in running if machine.process and machine.process.frozen]
        chosen = frozen or running
        if chosen:
            self.world.evict(self.world.random.choice(chosen))

    def doze(self) -> None:
        """All workers stop for a day in the middle of their seals, keep their place in the group, and go on."""
        self.produce()
        to_due = (DUE - self.world.hub.now()) % timedelta(days=1) / timedelta(seconds=1)
        self.go(0, to_due + self.world.random.uniform(0, 1500))
        self.go(self.world.random.randint(1, 40), 0)
        awake = [machine.process for machine in self._running() if machine.process and not machine.process.frozen]
        for process in awake:
            process.frozen = True
        self.world.hub.seconds += 43_200
        self.produce()
        self.world.hub.seconds += 43_200
        for process in awake:
            process.frozen = False

    def thaw(self) -> None:
        for machine in self._running():
            if machine.process is not None:
                machine.process.frozen = False

    def expire_offset(self) -> None:
        """The group forgets what it has committed: only where a chain stands, or it is a new start."""
        partition = self.world.random.choice(self.world.cluster.partitions())
        if records_of(self.world.bucket, partition):
            self.world.cluster.commits.pop(partition, None)

    def move_offset(self) -> None:
        """Somebody moves the group's offset by hand, and keeps or drops the metadata."""
        partition = self.world.random.choice(self.world.cluster.partitions())
        old = self.world.cluster.commits.get(partition)
        if old is None or not records_of(self.world.bucket, partition):
            return
        log = self.world.cluster.history(partition).log
        offset = self.world.random.randint(log.low, log.high)
        self.world.cluster.commits[partition] = Commit(offset, "")
        self.world.commits_moved = True

    def retention(self) -> None:
        """The log loses what lies below the committed offset, and below every pending seal."""
        partition = self.world.random.choice(self.world.cluster.partitions())
        records = records_of(self.world.bucket, partition)
        if not records:
            return
        floor = min(record.resume for record in records[-1:])
        seal = records[-1]
        if any(self.world.bucket.get(entry.key) is None for entry in seal.objects):
            floor = min(floor, seal.start)
        log = self.world.cluster.history(partition).log
        log.delete_below(self.world.random.randint(log.low, max(log.low, floor)))

    def hole(self) -> None:
        """The log loses what nobody has sealed yet."""
        world = self.world
        partition = world.random.choice(world.cluster.partitions())
        log = world.cluster.history(partition).log
        if records_of(world.bucket, partition) or partition in world.cluster.commits:
            log.delete_below(world.random.randint(log.low, log.high))

    def accept(self) -> None:
        """The operator accepts what is lost by now."""
        self.outcome.gaps += accept_gaps(self.world)

    def change_settings(self) -> None:
        """New settings come with a restart of all workers: a rolling one has both for a while."""
        random = self.world.random
        keep = random.choice([("a", "b"), ("a",), ("b",)])
        self.world.rules = rows.rules("t", keep=keep, shape=random.choice(rows.SHAPES))
        for machine in self._running():
            if random.random() < 0.7:
                self.world.kill(machine)
                self.world.start(machine, self._skew())

    def new_folder(self) -> None:
        """The destination moves to another folder under the same group; all workers restart."""
        for machine in self._running():
            self.world.kill(machine)
        for partition, commit in list(self.world.cluster.commits.items()):
            low = self.world.cluster.history(partition).log.low
            if commit.offset < low and not self.holes:  # moved back by hand: nothing else says where to begin
                self.world.cluster.commits[partition] = Commit(low)
        self.world.bucket = MemoryStore(self.world.clock)
        self.world.buckets.append(self.world.bucket)
        for machine in self.world.machines[: self.world.random.choice([1, 2])]:
            self.world.start(machine, self._skew())

    def grow(self) -> None:
        if len(self.world.cluster.histories) < 4:
            self.world.cluster.grow(self.world.hub.now())

    def hurt_spool(self) -> None:
        """A disk is lost, comes back from an older time, or rots, while its worker is down."""
        machine = self.world.random.choice(self.world.machines)
        if machine.process is not None:
            self.world.kill(machine)
        disk, random = machine.disk, self.world.random
        how = random.choice(["lost", "snapshot", "rot", "cut"])
        if how == "lost":
            disk.files.clear()
            disk.synced.clear()
            disk.documents.clear()
        elif how == "snapshot":
            self._swap_snapshot(machine)
        else:
            for name in random.sample(sorted(disk.files), min(1, len(disk.files))):
                content = disk.files[name]
                if how == "rot" and content:
                    content[random.randrange(len(content))] ^= 1 << random.randrange(8)
                elif content:
                    disk.truncate(name, random.randrange(len(content)))

    def _swap_snapshot(self, machine: Machine) -> None:
        disk = machine.disk
        now = {name: bytes(content) for name, content in disk.files.items()}, dict(disk.documents)
        if disk.aside:
            older = disk.aside.pop()
            disk.files = {name: bytearray(content) for name, content in older.items() if not name.startswith("doc:")}
            disk.documents = {name[4:]: content for name, content in older.items() if name.startswith("doc:")}
            disk.synced = {name: len(content) for name, content in disk.files.items()}
        files, documents = now
        disk.aside.append({**files, **{f"doc:{name}": content for name, content in documents.items()}})

    def schemas(self) -> None:
        """A producer writes with a schema that the registry learns of later; it learns of the one before."""
        self.world.registry.add(self.newest_schema)
        self.newest_schema += 1

    def weather(self) -> None:
        """Better or worse networks."""
        level = self.world.random.choice([0.0, 0.02, 0.15])
        self.world.faults.store = self.world.faults.lost_answer = self.world.faults.cluster = level

    # -- the end -----------------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """All heals; the days that are left come due and are sealed."""
        self._heal()
        for _ in range(QUIET_DAYS * 6):
            self.go(40, 4 * 3600.0)
            if self.holes:
                self.accept()
        if self.world.spool_bytes < SMALL:
            self._late_flood()
            self.go(40, 6 * 3600.0)
        self.go(40, (START - self.world.hub.now()) % timedelta(days=1) / timedelta(seconds=1))  # no seal is due then

    def _heal(self) -> None:
        world = self.world
        world.faults.store = world.faults.lost_answer = world.faults.cluster = 0.0
        world.registry.add(self.newest_schema)
        for machine in self._running():
            if world.random.random() < 0.5:
                world.kill(machine)
        for machine in world.machines:
            machine.disk.capacity = 1 << 40
        self.thaw()
        for machine in self._running():
            if machine.process is not None:
                machine.process.skew = timedelta()
        if not self._running():
            world.start(world.machines[0])

    def _late_flood(self) -> None:
        """More late rows than the spool takes: the spill that they force has to be closed the same day."""
        now = self.world.hub.now()
        for number in range(len(self.world.cluster.histories)):
            for _ in range(60):
                self.serial += 1
                late = rows.value(str(self.serial), "a", now.date() - timedelta(days=2))
                self.world.cluster.histories[number].append(late, int(now.timestamp() * 1000), now, None)

    def judge(self) -> None:
        """The oracle's word on every folder, the last one being whole."""
        world = self.world
        for bucket in world.buckets[:-1]:
            for partition in world.cluster.partitions():
                records_of(bucket, partition)
        events = world.events
        found = [event.halt for event in events if isinstance(event, PartitionHalted | PublishingHalted)]
        seals = [event.record for event in events if isinstance(event, SealFinished)]
        self.outcome.notes = self._notes()
        self.outcome.halts = [str(halt.reason) for halt in found]
        self.outcome.seals = len(seals)
        self.outcome.spills = sum(not record.caught_up for record in seals)
        halts = [halt for halt in found if not (self.holes and halt.reason is HaltReason.RETENTION_HOLE)]
        if halts:
            raise Violation(f"halted: {halts[0]}")
        self.outcome.rows = check_folder(world.bucket, world.cluster)
        check_commits(world.bucket, world.cluster)
        self._all_closed()

    def _notes(self) -> list[str]:
        notes: list[str] = []
        for event in self.world.events:
            if isinstance(event, PartitionRecovered):
                notes.extend(event.notes)
            elif isinstance(event, SealConsidered):
                notes.append(event.reason)
        return notes

    def _all_closed(self) -> None:
        world = self.world
        last = Schedule(SEAL_AT).cutoff(world.hub.now() - timedelta(hours=8))
        for partition in world.cluster.partitions():
            records = records_of(world.bucket, partition)
            if not records or records[-1].cutoff is None or records[-1].cutoff < last or not records[-1].caught_up:
                head = records[-1].reach if records else None
                raise Violation(f"{partition} has not closed {last}: {head}, notes {self._notes()[-5:]}")


def run_schedule(seed: int) -> Outcome:
    """Run the schedule of this seed. Raises Violation, with the seed in its text."""
    script = Script(seed)
    try:
        return script.run()
    except Violation as error:
        raise Violation(f"seed {seed}: {error}\nactions: {' '.join(script.outcome.actions)}") from error
    except Exception as error:
        raise RuntimeError(f"seed {seed} broke: {error}") from error
