"""The campaign itself: plays a plan on real servers, and judges after each round."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from tests.chaos.acts import Acts
from tests.chaos.audit import Tally, overwritten, tally
from tests.chaos.feeder import Feeder
from tests.chaos.fleet import Fleet
from tests.chaos.ground import Ground, within
from tests.chaos.moments import MULTIPART, Moment
from tests.chaos.plan import ANY_TIME, WEATHER, Fault, Kill, Plan, Season, Step, said
from tests.chaos.weather import weather
from tests.harness.oracle import today
from tests.harness.world import World, closing

ONE_DAY = timedelta(days=1)
BURST = {"days": 40, "spills": 160}
"""Records of each stream at the start of a step: for some objects, and for a spool that is too small."""
MOMENT_SECONDS = 9.0
MOMENT_IN_WEATHER_SECONDS = 6.0
SETTLE_SECONDS = 120


class OutOfTimeError(Exception):
    """The campaign took longer than it may."""


@dataclass(slots=True)
class Figures:
    """What was done and found so far. `wrong` is empty, or the campaign ended there."""

    counts: Counter[str] = field(default_factory=Counter)
    by_moment: dict[str, list[int]] = field(default_factory=dict)
    faults: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


class Campaign:
    """Plays one plan. `say` takes a line for each step."""

    def __init__(
        self, plan: Plan, ground: Ground, home: Path, say: Callable[[str], None], seconds: float = 3600
    ) -> None:
        self._plan = plan
        self._ground = ground
        self._home = home
        self._say = say
        self._began = time.monotonic()
        self._until = self._began + seconds
        self.figures = Figures()
        self.world: World | None = None

    def run(self, *, after: Callable[[World], None] = lambda _: None) -> Figures:
        """Play all seasons; AssertionError at the first thing that is wrong. `after` sees each world at its end."""
        for n, season in enumerate(self._plan.seasons):
            home = self._home / f"season-{n}"
            address = self._ground.store.address
            world = World(
                home,
                self._ground.kafka.address,
                address,
                self._ground.bucket(),
                endpoint=self._ground.gate.url,
                protocol=season.protocol,
                seed=self._plan.seed * 100 + n,
            )
            world.ledger._options["log_level"] = "0"  # a broker that is killed is no news
            with closing(world):
                for name, form, partitions, compression in season.streams:
                    world.add(name, name, form, partitions=partitions, compression=compression)  # type: ignore[arg-type] # a literal
                self._say(f"season {n}: {season.protocol}, {'static' if season.static else 'dynamic'} members")
                self._season(season, world)
                after(world)
        self.figures.seconds = time.monotonic() - self._began
        return self.figures

    def _season(self, season: Season, world: World) -> None:
        day = today() - (season.days + 4) * ONE_DAY
        feeder = Feeder(world, day)
        fleet = Fleet(world, self._ground, static=season.static, counts=self.figures.counts)
        player = _Player(self, world, fleet, feeder, day)
        try:
            for each in season.rounds:
                player.begin(each.mode)
                for step in each.steps:
                    self._check_time()
                    self._say(f"{time.monotonic() - self._began:5.0f} s  {said(step)}")
                    player.step(step)
                player.calm()
            player.finish()
        finally:
            self._ground.heal()
            feeder.close()

    def _check_time(self) -> None:
        if time.monotonic() > self._until:
            raise OutOfTimeError(f"{time.monotonic() - self._began:.0f} s were not enough")

    @property
    def ground(self) -> Ground:
        """Its servers."""
        return self._ground

    @property
    def say(self) -> Callable[[str], None]:
        """Where its lines go."""
        return self._say


class _Player:
    """One season in its world. `_day` is the newest day that is due."""

    def __init__(self, campaign: Campaign, world: World, fleet: Fleet, feeder: Feeder, day: date) -> None:
        self._campaign = campaign
        self._ground = campaign.ground
        self._figures = campaign.figures
        self._world = world
        self._fleet = fleet
        self._feeder = feeder
        self._acts = Acts(world, self._ground, fleet, feeder)
        self._day = day
        self._by_day = True

    def begin(self, mode: str) -> None:
        """Records begin to come."""
        self._by_day = mode == "days"
        self._next_day(advance=False)
        self._feeder.resume()

    def step(self, step: Step) -> None:
        """One step."""
        self._fleet.check()
        self._next_day(advance=step.advance)
        action = step.action
        if isinstance(action, Kill):
            with weather(self._ground, action.under):
                self._kill(action, step.company)
            if action.under is not None:
                self._figures.faults[action.under.name] += 1
        else:
            self._fault(action)
            self._figures.faults[action.name] += 1

    def _next_day(self, *, advance: bool) -> None:
        if self._by_day:
            self._day += advance * ONE_DAY
            self._fleet.cutoff = self._feeder.day = self._day
        else:
            self._fleet.cutoff, self._feeder.day = None, today() - 3 * ONE_DAY
        if advance or not self._by_day:
            self._feeder.burst(BURST["days" if self._by_day else "spills"])

    def _kill(self, kill: Kill, company: int) -> None:
        if kill.moment == ANY_TIME:
            self._kill_any_time(kill, company)
            return
        name = kill.slots[0]
        if kill.moment in MULTIPART:
            plain = next(stream for stream in self._world.streams.values() if stream.compression == "none")
            self._feeder.fat(plain, 24, self._day)
        moment = Moment(self._ground, self._fleet, kill)
        moment.arm()
        sink = self._fleet.ready(name)
        self._fleet.company(name, company)
        reached = moment.reached(sink, MOMENT_SECONDS if kill.under is None else MOMENT_IN_WEATHER_SECONDS)
        seen = self._figures.by_moment.setdefault(kill.moment, [0, 0])
        seen[not reached] += 1
        if not reached:
            where = "as it runs" if sink.code is None else "in a new start"
            self._campaign.say(f"        it did not come to that in time: killed {where}")
        self._fleet_kill(name, kill.spool)
        moment.after_kill()

    def _kill_any_time(self, kill: Kill, company: int) -> None:
        for name in kill.slots:
            self._fleet.ready(name)
        self._fleet.company(kill.slots[0], max(company, len(kill.slots) - 1))
        time.sleep(kill.after)
        seen = self._figures.by_moment.setdefault(ANY_TIME, [0, 0])
        for name in kill.slots:
            self._fleet_kill(name, kill.spool)
            seen[0] += 1

    def _fleet_kill(self, name: str, how: str) -> None:
        """Kill it; one that had ended by itself is started once more for that."""
        if not self._fleet.slots[name].up:
            sink = self._fleet.start(name)
            within(1.0, lambda: sink.code is not None or sink.said("starting"))
        if not self._fleet.slots[name].up:
            self._fleet.start(name)
        self._fleet.kill(name, how)

    def _fault(self, fault: Fault) -> None:
        self._fleet.company("", len(self._fleet.slots))
        self._fleet.ready(fault.slot)
        if fault.name in WEATHER:
            with weather(self._ground, fault):
                within(fault.seconds, lambda: False)
        else:
            self._acts.do(fault)

    def calm(self) -> None:
        """No more faults: everything due gets sealed, and is judged."""
        self._ground.heal()
        self._feeder.pause()
        self._fleet.settle(SETTLE_SECONDS)
        self._next_day_quietly()
        self._once(self._day if self._by_day else today() - 2 * ONE_DAY)
        self._transform(self._day if self._by_day else None)

    def finish(self) -> None:
        """The season's end: every row of every day that is over lies in the bucket."""
        last = today() - ONE_DAY
        self._once(last)
        self._sum_up(self._transform(last))

    def _next_day_quietly(self) -> None:
        """What came after the last seal is due with the next day."""
        if self._by_day:
            self._day += ONE_DAY

    def _once(self, through: date) -> None:
        self._fleet.cutoff = through
        name = min(self._fleet.slots)
        sink = self._fleet.start(name)
        sink.done(0, SETTLE_SECONDS)
        self._fleet.check()

    def _transform(self, sealed: date | None) -> Tally:
        world, counts = self._world, self._figures.counts
        verify = world.start("verify", worker="judge")
        found = world.judge(sealed)
        seen = tally(world, sealed)
        assert (seen.lost, seen.doubled, seen.strange) == (0, 0, 0), seen
        twice = overwritten(world.folder)
        assert not twice, f"written twice: {twice[:5]}"
        assert world.lagging() == []
        verify.done(0, SETTLE_SECONDS)
        counts["judgements"] += 1
        held = sum(len(each.held) for each in found.values())
        self._campaign.say(f"        judged: {seen.rows} rows, each once; {held} of days that are not due")
        counts["quarantined so far"] = sum(each.quarantined for each in found.values())
        return seen

    def _sum_up(self, seen: Tally) -> None:
        counts, world = self._figures.counts, self._world
        counts["rows"] += seen.rows
        counts["records sent"] += world.ledger.rows()
        counts["lost"] += seen.lost
        counts["overwritten"] += len(overwritten(world.folder))
        counts["doubled"] += seen.doubled
        for stream in world.streams.values():
            chains = [world.folder.records(stream.topic, p) for p in range(stream.partitions)]
            counts["seals"] += sum(len(chain) for chain in chains)
            counts["spills"] += sum(not record["caught_up"] for chain in chains for record in chain)
            counts["objects"] += sum(len(record["objects"]) for chain in chains for record in chain)
        counts["quarantined"] += counts.pop("quarantined so far")
        self._count_logs()

    def _count_logs(self) -> None:
        """What the workers themselves said of it."""
        counts = self._figures.counts
        for log in self._world.home.glob("*.log"):
            for line in log.read_text(errors="replace").splitlines():
                counts["rebalances"] += '"rebalanced"' in line
                counts["outages"] += '"outage"' in line
                if '"partition_recovered"' in line:
                    counts["recoveries"] += 1
                    counts["pending"] += " pending, " in line
                    counts["offsets put back"] += "the group's offset is" in line
