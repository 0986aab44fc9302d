"""The schedule of a campaign: a pure function of its seed and its size."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Mode = Literal["days", "spills"]
"""What makes the seals: `run --once` from day to day, or a live `run` whose spool is too small."""

ANY_TIME = "any time"
MOMENTS = (
    "before the record",
    "after the record",
    "before an object",
    "after an object",
    "before the commit arrives",
    "before the commit is answered",
    "before a manifest",
    "after a manifest",
    "before a mark",
    "before the list of days",
    "after the list of days",
    "before a quarantine object",
    "before a multipart upload",
    "before a part",
    "after the last part",
    "when partitions come",
    "when it has recovered",
)
"""Chosen moments of a kill. Those of days that are new do not come while spills are all that is sealed."""
ONLY_DAYS = {"before a mark", "before a multipart upload", "before a part", "after the last part"}
SPOOLS = (
    "kept",
    "deleted",
    "truncated",
    "one bit flipped",
    "of another partition",
    "without checkpoints",
    "noise for checkpoints",
    "an older copy",
    "another worker's",
)
"""What becomes of a dead worker's spool before the next one starts on it."""
WEATHER = (
    "kafka cut for one",
    "kafka cut for all",
    "kafka slow",
    "kafka's answers lost",
    "store down",
    "store slow",
    "store 503",
    "store 500",
    "store 429",
    "store 409",
    "store refuses (403)",
    "store's answers lost",
    "store cuts bodies",
    "store's clock behind",
)
"""Faults that last a while, with work or with a kill under them."""
ACTS = (
    "SIGTERM",
    "frozen beyond its session",
    "frozen in a seal",
    "scaled down and up",
    "broker killed",
    "store killed",
    "offsets rewound",
    "offsets advanced",
    "group deleted",
    "partition added",
)
"""Faults that are done."""
FAULTS = WEATHER + ACTS
KILLS_IN_SEASON = 50
STEPS_IN_ROUND = 15


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault that is no kill. `count` is the number of requests it hits, where it hits requests."""

    name: str
    slot: str
    seconds: float
    count: int


@dataclass(frozen=True, slots=True)
class Kill:
    """Kill -9 of these workers at once, at the `nth` request of the moment.

    `late`: the request that was held arrives after its worker died. `under` is the weather meanwhile.
    """

    slots: tuple[str, ...]
    moment: str
    nth: int
    after: float
    spool: str
    late: bool
    under: Fault | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One action, with `company` other workers up. `advance`: a new day is due first."""

    action: Kill | Fault
    company: int
    advance: bool


@dataclass(frozen=True, slots=True)
class Round:
    """Some steps, then calm and a judgement."""

    mode: Mode
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Season:
    """A world of its own: topics, group, folder. `static`: live workers are static members."""

    protocol: Literal["classic", "consumer"]
    static: bool
    streams: tuple[tuple[str, str, int, str], ...]
    rounds: tuple[Round, ...]

    @property
    def days(self) -> int:
        """How many days may come due one after another."""
        return sum(step.advance for each in self.rounds for step in each.steps) + len(self.rounds)


@dataclass(frozen=True, slots=True)
class Plan:
    """The whole campaign."""

    seed: int
    slots: tuple[str, ...]
    seasons: tuple[Season, ...]

    @property
    def steps(self) -> Iterator[Step]:
        """All steps in order."""
        return (step for season in self.seasons for each in season.rounds for step in each.steps)

    @property
    def kills(self) -> int:
        """How many processes are killed."""
        return sum(len(step.action.slots) for step in self.steps if isinstance(step.action, Kill))

    @property
    def faults(self) -> int:
        """How many other faults there are."""
        return sum(isinstance(step.action, Fault) or step.action.under is not None for step in self.steps)


STREAMS = (
    (("events", "avro", 4, "none"), ("paywall_views", "json", 2, "gzip")),
    (("events", "json", 3, "zstd"), ("ua_events", "avro", 2, "none"), ("ua_campaign_metrics", "avro", 1, "gzip")),
)
"""Name and kind, format, partitions and compression of the streams, season by season."""


def plan(seed: int, kills: int, faults: int, workers: int, seasons: int = 0) -> Plan:
    """The schedule for this seed, with so many kills and other faults. `seasons` 0: as many as fit the kills."""
    rng = random.Random(f"chaos {seed}")
    slots = tuple("abcdefgh"[:workers])
    seasons = seasons or max(1, round(kills / KILLS_IN_SEASON))
    decks = _Decks(rng, slots)
    made = []
    for n in range(seasons):
        share = [_share(kills, n, seasons), _share(faults, n, seasons)]
        rounds = _rounds(decks, *share)
        made.append(Season("consumer" if n % 2 else "classic", n // 2 % 2 == 0, STREAMS[n % 2], rounds))
    return Plan(seed, slots, tuple(made))


def _share(whole: int, n: int, parts: int) -> int:
    return whole * (n + 1) // parts - whole * n // parts


class _Deck:
    """Draws each card before any comes again."""

    def __init__(self, rng: random.Random, cards: Sequence[str]) -> None:
        self._rng = rng
        self._cards = cards
        self._left: list[str] = []

    def draw(self) -> str:
        if not self._left:
            self._left = self._rng.sample(self._cards, len(self._cards))
        return self._left.pop()


class _Decks:
    """What is drawn from."""

    def __init__(self, rng: random.Random, slots: tuple[str, ...]) -> None:
        self.rng = rng
        self.slots = slots
        by_day = [moment for moment in MOMENTS if moment not in ONLY_DAYS]
        self._moments = {"days": _Deck(rng, MOMENTS), "spills": _Deck(rng, by_day)}
        self._spools = _Deck(rng, SPOOLS[1:])
        self._faults = _Deck(rng, FAULTS)
        self._slots = _Deck(rng, slots)

    def fault(self) -> Fault:
        """A fault of any kind."""
        slot = self.rng.choice(self.slots)
        return Fault(self._faults.draw(), slot, round(self.rng.uniform(1, 4), 1), self.rng.randint(2, 20))

    def kill(self, mode: Mode) -> Kill:
        """One worker at a chosen moment, or some at any."""
        rng = self.rng
        at_once = 1 if rng.random() < 0.8 else rng.randint(2, len(self.slots))
        slots = (self._slots.draw(),) if at_once == 1 else tuple(sorted(rng.sample(self.slots, at_once)))
        chosen = at_once == 1 and rng.random() < 0.75
        moment = self._moments[mode].draw() if chosen else ANY_TIME
        spool = "kept" if rng.random() < 0.4 else self._spools.draw()
        return Kill(slots, moment, rng.randint(1, 3), round(rng.uniform(0, 2.5), 2), spool, rng.random() < 0.25)


def _rounds(decks: _Decks, kills: int, faults: int) -> tuple[Round, ...]:
    """The rounds of a season: first those from day to day, then those of spills."""
    left = {"days": (kills + 1) // 2, "spills": kills // 2}
    made: list[Round] = []
    modes: tuple[Mode, ...] = ("days", "spills")
    for mode, others in zip(modes, (faults - faults // 2, faults // 2), strict=True):
        actions = _actions(decks, mode, left[mode], others)
        count = max(1, round(len(actions) / STEPS_IN_ROUND))
        for n in range(count):
            part = actions[len(actions) * n // count : len(actions) * (n + 1) // count]
            made.append(Round(mode, tuple(_step(decks, mode, action) for action in part)))
    return tuple(made)


def _actions(decks: _Decks, mode: Mode, kills: int, faults: int) -> list[Kill | Fault]:
    """So many kills, some of them under some of the faults, in any order."""
    made: list[Kill | Fault] = []
    while kills > 0:
        drawn = decks.kill(mode)
        made.append(replace(drawn, slots=drawn.slots[:kills]))
        kills -= len(drawn.slots)
    for _ in range(faults):
        fault = decks.fault()
        bare = [n for n, each in enumerate(made) if isinstance(each, Kill) and each.under is None]
        if fault.name in WEATHER and bare and decks.rng.random() < 0.4:
            n = decks.rng.choice(bare)
            kill = made[n]
            assert isinstance(kill, Kill)
            made[n] = replace(kill, under=fault)
        else:
            made.append(fault)
    decks.rng.shuffle(made)
    return made


def _step(decks: _Decks, mode: Mode, action: Kill | Fault) -> Step:
    others = len(decks.slots) - 1
    if mode == "spills" or (isinstance(action, Fault) and action.name in ACTS):
        return Step(action, others, mode == "days")
    return Step(action, decks.rng.choice((0, 0, 0, 1, 1, others)), mode == "days")


def lines(made: Plan) -> Iterator[str]:
    """The schedule as text, a line for each step."""
    for season in made.seasons:
        yield f"season: {season.protocol}, {'static' if season.static else 'dynamic'} members"
        for each in season.rounds:
            yield f"  round of {each.mode}"
            yield from (f"    {said(step)}" for step in each.steps)


def said(step: Step) -> str:
    """One step as text."""
    action = step.action
    if isinstance(action, Fault):
        return f"{action.name} ({action.slot}, {action.seconds} s, {action.count} requests), {step.company} beside"
    under = f", under: {action.under.name}" if action.under else ""
    late = ", its request arrives late" if action.late else ""
    return (
        f"kill -9 {'+'.join(action.slots)}: {action.moment} ({action.nth}; {action.after} s), spool {action.spool}"
        f"{late}{under}, {step.company} beside"
    )
