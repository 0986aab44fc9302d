"""Schedules in which stored days are replaced: by one and by several processes, beside workers in all their trouble."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from random import Random
from typing import TypeVar

from consumer.domain.errors import GaveUpError, HaltError, RefusedError, TransientError
from consumer.replace.bodies import working_folder
from consumer.replace.protocol import finished
from consumer.replace.replay import Replay
from consumer.replace.services import Scope, Services
from consumer.replace.stored import Restatement
from consumer.replace.treatments import erasure_of
from consumer.replace.undo import Undo
from consumer.seal.log import SealLog
from consumer.seal.publisher import Publisher
from consumer.seal.replacements.log import ReplacementLog
from consumer.seal.replacements.record import Erasure, Replacement, ReplacementKind
from consumer.streams.columns import column_names
from consumer.streams.rules import RowRules
from tests.fakes.kafka.admin import MemoryAdmin
from tests.fakes.kafka.log import Transaction
from tests.fakes.kafka.range_reader import MemoryRangeReader
from tests.simulation import rows
from tests.simulation.cluster import ViewHooks
from tests.simulation.hub import Process, SkewedClock
from tests.simulation.oracle import Violation, records_of, replacements_of
from tests.simulation.replaced import ReplacementWatch, check_replaced, words_in
from tests.simulation.schedule import Script
from tests.simulation.world import TOPIC, SimStore, World

T = TypeVar("T")

GIVES_UP = 3600.0
"""Seconds of an outage that end a command."""
MOST = 3
"""Commands at a time."""
PRIVACY = (None, None, rows.hashing("k1"), rows.hashing("k2"))


@dataclass(slots=True)
class Command:
    """A replacement command in a process of its own. `ended` says how it ended."""

    process: Process
    name: str
    ended: str = ""


class Operators:
    """Runs commands as processes beside the workers, with the settings of the moment."""

    def __init__(self, world: World, folder: Path, random: Random) -> None:
        self._world, self._folder, self._random = world, folder, random
        self.commands: list[Command] = []

    @property
    def running(self) -> list[Command]:
        return [command for command in self.commands if not command.ended]

    def start(self, name: str, work: Callable[[Services], str]) -> Command:
        """Start a command; what it raises on purpose is how it ended."""
        process = Process(
            f"{name}-{len(self.commands)}", self._world.random.choice([timedelta(), timedelta(minutes=-1)])
        )
        command = Command(process, name)
        services = self._services(process)

        def run() -> None:
            try:
                command.ended = work(services)
            except (RefusedError, HaltError, GaveUpError) as error:
                command.ended = f"{type(error).__name__}: {error}"

        self._world.hub.spawn(process, run)
        self.commands.append(command)
        return command

    def kill(self, command: Command) -> None:
        self._world.hub.kill(command.process)
        command.ended = "killed"

    def _services(self, process: Process) -> Services:
        world = self._world
        store = SimStore(world, process, world.bucket)
        hooks = ViewHooks(world.hub, process, lambda: world.faults.cluster)
        rules, clock = world.rules, SkewedClock(world.hub, process)
        topic = world.cluster.memory.topic(TOPIC)
        assert topic is not None

        def names(digest: str) -> tuple[str, ...]:
            return column_names(services.rules(digest))

        services = Services(
            stream="sim",
            topic=TOPIC,
            topic_id=topic.topic_id,
            today=rules,
            compression="none",
            store=store,
            admin=MemoryAdmin(world.cluster.memory, hooks),
            reader=MemoryRangeReader(world.cluster.memory, hooks, batch=self._random.choice([3, 50])),
            publisher=Publisher(
                store,
                "sim",
                columns_of=names,
                today=lambda: column_names(rules),
                now=clock.now,
            ),
            make_transformer=lambda by: rows.SimTransformer(by, world.registry),
            clock=clock,
            writer=process.name,
            ask=self._asking(process),
            folder=self._folder / process.name,
            most_bytes=self._random.choice([1, 300, 1 << 30]),
            keys=rows.KEYS,
            logs={place.partition: SealLog(store, place) for place in world.cluster.partitions()},
        )
        return services

    def _asking(self, process: Process) -> Callable[[Callable[[], T]], T]:
        hub = self._world.hub

        def ask(call: Callable[[], T]) -> T:
            begun = hub.seconds
            while True:
                try:
                    return call()
                except TransientError as error:
                    if hub.seconds - begun > GIVES_UP:
                        raise GaveUpError(str(error)) from error
                    hub.sleep(process, self._random.uniform(1, 60))

        return ask


def replaying(scope: Scope, *, skip_gone: bool, keep_old: bool) -> Callable[[Services], str]:
    """`replay`."""

    def work(services: Services) -> str:
        one = Replay(services, scope, keep_old="auto" if keep_old else "never")
        one.resume()
        plan = one.plan(skip_gone=skip_gone)
        with working_folder(services.folder) as folder:
            return f"done: {len(one.apply(plan, folder)) if plan.objects else 0}"

    return work


def undoing(n: int) -> Callable[[Services], str]:
    """`replay --undo`."""

    def work(services: Services) -> str:
        one = Undo(services, n)
        if one.resume() is None:
            one.apply(one.plan())
        return "done: 1"

    return work


def restating(scope: Scope, erasure: Erasure | None) -> Callable[[Services], str]:
    """`erase`, or `rewrite` without whom to erase."""

    def work(services: Services) -> str:
        one = Restatement(services, scope, erasure)
        one.resume()
        plan = one.plan()
        with working_folder(services.folder) as folder:
            return f"done: {len(one.apply(plan, folder)) if plan.objects else 0}"

    return work


class PastScript(Script):
    """A schedule with operators. What they draw comes from a source of its own."""

    def __init__(self, seed: int, folder: Path) -> None:
        super().__init__(seed)
        self.dice = Random(f"{seed} past")
        self.operators = Operators(self.world, folder, self.dice)
        self.replaced = 0
        self.frozen = 0
        self.world.watchers.append(ReplacementWatch().wrote)
        self.world.rules = self._rules()
        ordinary = {self.new_folder, self.hole, self.accept, self.grow, self.schemas, self.doze}
        self.actions = [(weight, action) for weight, action in self.actions if action not in ordinary]
        self.holes = False
        self.actions += [
            (10, self.replay),
            (4, self.undo),
            (5, self.race),
            (3, self.rewrite),
            (3, self.erase),
            (5, self.kill_command),
            (3, self.freeze_command),
            (4, self.thaw_command),
        ]

    # -- what happens ------------------------------------------------------------------------------------------------

    def _rules(self) -> RowRules:
        keep = self.dice.choice([("a", "b"), ("a",), ("b",)])
        moved, shape = self.dice.random() < 0.3, self.dice.choice(rows.SHAPES)
        return rows.rules(TOPIC, keep=keep, shape=shape, moved=moved, privacy=self.dice.choice(PRIVACY))

    def change_settings(self) -> None:
        """New settings: in a rolling restart of the workers, and for commands from now on."""
        self.world.rules = self._rules()
        for machine in self._running():
            if self.dice.random() < 0.7:
                self.world.kill(machine)
                self.world.start(machine, self._skew())

    def _append(self, number: int, transaction: Transaction | None = None) -> None:
        """A day is the record's day + 1 at most, else replays could not know where to begin reading."""
        world, random = self.world, self.world.random
        self.serial += 1
        now = world.hub.now()
        day = now.date() + timedelta(days=random.choices([0, -1, -2, -3, 1, 5], [60, 14, 8, 5, 8, 2])[0])
        kind = random.choice("aab")
        moved = day + timedelta(days=random.choice([-1, 1])) if random.random() < 0.1 else None
        good = rows.value(str(self.serial), kind, day, moved=moved)
        data = random.choices([good, b"bad", None], [92, 5, 3])[0]
        world.cluster.histories[number].append(data, int(now.timestamp() * 1000), now, transaction)

    def _days(self) -> list[date]:
        partitions = self.world.cluster.partitions()
        chains = [records_of(self.world.bucket, partition) for partition in partitions]
        return sorted({entry.day for chain in chains for record in chain for entry in record.objects})

    def _scope(self) -> Scope | None:
        days = self._days()
        if not days or len(self.operators.running) >= MOST:
            return None
        first, last = sorted(self.dice.choices([days[0], *days, days[-1]], k=2))
        numbers = [partition.partition for partition in self.world.cluster.partitions()]
        return Scope(first, last, self.dice.choice([None, None, (self.dice.choice(numbers),)]))

    def replay(self) -> None:
        if (scope := self._scope()) is not None:
            skip, keep = self.dice.random() < 0.5, self.dice.random() < 0.9
            self.operators.start("replay", replaying(scope, skip_gone=skip, keep_old=keep))

    def undo(self) -> None:
        count = len(replacements_of(self.world.bucket))
        if count and len(self.operators.running) < MOST:
            self.operators.start("undo", undoing(self.dice.randrange(max(0, count - 3), count)))

    def race(self) -> None:
        """A replay of the days that another command is just taking back."""
        records = replacements_of(self.world.bucket)
        if records and len(self.operators.running) < MOST - 1:
            last = records[-1]
            scope = Scope(date.fromisoformat(last["from"]), date.fromisoformat(last["to"]))
            self.operators.start("undo", undoing(last["n"]))
            self.operators.start("replay", replaying(scope, skip_gone=False, keep_old=True))

    def rewrite(self) -> None:
        if (scope := self._scope()) is not None:
            self.operators.start("rewrite", restating(scope, None))

    def erase(self) -> None:
        if (scope := self._scope()) is not None:
            persons = [str(self.dice.randint(1, self.serial + 1)) for _ in range(self.dice.randint(1, 9))]
            mode, key = self.dice.choice(["cells", "rows"]), self.dice.choice(["k1", "k2"])
            erasure = erasure_of("id", mode, persons, ("id", "kind"), key, rows.KEYS)
            self.operators.start("erase", restating(scope, erasure))

    def kill_command(self) -> None:
        if running := self.operators.running:
            self.operators.kill(self.dice.choice(running))

    def freeze_command(self) -> None:
        """A command stands still in the midst of a day's objects, and a worker comes up beside it and publishes."""
        self.thaw_command()
        for begin in self.dice.sample([self.replay, self.rewrite, self.erase], k=3):
            if not self.operators.running:
                self.world.rules = self._rules()  # with the settings of before it would find nothing to replace
                begin()
            for _ in range(1_000):
                if not self.operators.running or words_in(self.world.bucket):
                    break
                self.go(1, 0)
        self.go(self.dice.randint(0, 2), 0)
        for command in self.operators.running:
            command.process.frozen = True
        self.frozen += bool(words_in(self.world.bucket))
        for machine in self._running():
            self.world.kill(machine)
        self.start()
        self.go(100, 600)
        if self.dice.random() < 0.7:
            self.thaw_command()  # else it stays so, or is killed so

    def thaw_command(self) -> None:
        for command in self.operators.running:
            command.process.frozen = False

    def retention(self) -> None:
        """Not while something is half done: what Kafka lost then could not be finished by anybody."""
        if not self.operators.running and not self._half_done():
            super().retention()

    def _half_done(self) -> bool:
        try:
            check_replaced(self.world.bucket, self.world.cluster)
        except Violation:
            return True
        return False

    # -- the end -----------------------------------------------------------------------------------------------------

    def quiet(self) -> None:
        """What commands left half done is finished by the same commands, whatever the settings are by now."""
        self._heal()
        self.thaw_command()
        self.freeze_command()
        self.thaw_command()
        for command in self.operators.running:
            if self.dice.random() < 0.5:
                self.operators.kill(command)
        self.go(200, 7200.0)
        self._finish()
        super().quiet()

    def _finish(self) -> None:
        log = ReplacementLog(self.world.bucket, "sim").read()
        for record in log.records:
            command = self.operators.start(f"finish-{record.n}", _again(record))
            for _ in range(200):
                if command.ended:
                    break
                self.go(50, 600.0)
            if not command.ended.startswith("done"):
                raise Violation(f"{record.kind} {record.n} cannot be finished: {command.ended or 'no end'}")

    def judge(self) -> None:
        super().judge()
        self.replaced = check_replaced(self.world.bucket, self.world.cluster)
        self.outcome.notes += [f"{command.name} {command.ended}" for command in self.operators.commands]


def _again(record: Replacement) -> Callable[[Services], str]:
    """The command that made a record, run again: it finishes what is left of it, and plans nothing."""
    scope = Scope(record.first, record.last, record.partitions)

    def work(services: Services) -> str:
        if finished(services, record):
            return "done"  # another one, half done, may have come since
        match record.kind:
            case ReplacementKind.UNDO:
                Undo(services, record.undoes or 0).resume()
            case ReplacementKind.REPLAY:
                Replay(services, scope, keep_old="auto").resume()
            case _:
                Restatement(services, scope, record.erasure).resume()
        return "done"

    return work


@dataclass(slots=True)
class Past:
    """What schedules with operators went through, together.

    `frozen` counts the commands' stand-stills amid a day's objects, with a worker that comes up beside them.
    """

    replaced: int = 0
    frozen: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="simulation-") as name:
        yield Path(name)


def run_past(seed: int, found: Past | None = None) -> None:
    """Run the schedule of this seed. Raises Violation, with the seed in its text."""
    with _folder() as folder:
        script = PastScript(seed, folder)
        try:
            script.run()
        except Violation as error:
            raise Violation(f"seed {seed}: {error}\nactions: {' '.join(script.outcome.actions)}") from error
        except Exception as error:
            raise RuntimeError(f"seed {seed} broke: {error}") from error
        if found is not None:
            found.replaced += script.replaced
            found.frozen += script.frozen
            found.ended.update(f"{c.name.split('-')[0]} {c.ended.split(':')[0]}" for c in script.operators.commands)
