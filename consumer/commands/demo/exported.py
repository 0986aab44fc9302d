"""The demo's manual export: three days of events in one file, a statement that loads it, and what DuckDB answers."""

from __future__ import annotations

import importlib
import importlib.util
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from consumer.commands.demo.data import MORNINGS
from consumer.commands.demo.run import PATIENCE, DemoClock, DemoResult
from consumer.commands.retry import RetryBudget
from consumer.commands.wiring import patient_transformers, store_of, writer_name
from consumer.domain.days import DayRange
from consumer.export.judges import RuleJudges
from consumer.export.plan import ExportedDay
from consumer.export.stream import Order, StreamExport
from consumer.export.survey import Survey
from consumer.export.targets import BucketTarget
from consumer.seal.inspection import Outside
from consumer.seal.keys import export_key
from consumer.source.admin import KafkaAdmin
from consumer.source.range_reader import KafkaRangeReader

STREAM = "events"
FIRST_DAY, LAST_DAY = date(2024, 7, 15), MORNINGS[-1].date() - timedelta(days=1)
ANSWERS = 4
LOAD = """\
CREATE TABLE events AS SELECT * FROM read_csv('{path}',
  header = true, delim = ',', quote = '"', escape = '"', all_varchar = true, allow_quoted_nulls = false);
SELECT event_type, count(*) AS events, round(sum(TRY(CAST(revenue_usd AS DOUBLE))), 2) AS revenue_usd
FROM events GROUP BY ALL ORDER BY events DESC, event_type LIMIT {answers};"""


@dataclass(frozen=True, slots=True)
class Exported:
    """The file, its number of rows, and the statements that load it.

    `heads` and `answer` are DuckDB's result; None if it is not installed.
    """

    path: str
    rows: int
    complete: bool
    statements: str
    heads: tuple[str, ...] = ()
    answer: tuple[tuple[str, ...], ...] | None = None


class _Silent:
    """Ignores the progress of the export: it takes no time."""

    def planned(self, stream: str, survey: Survey) -> None:
        """Nothing."""

    def advanced(self, rows: float, size: int) -> None:
        """Nothing."""

    def day_done(self, day: ExportedDay) -> None:
        """Nothing."""


def export_events(result: DemoResult) -> Exported:
    """Export the sealed days of one stream, as `adapty-sink export` does, and load the file."""
    facts = _export(result)
    path = str(result.folder / export_key(STREAM, f"{FIRST_DAY}_{LAST_DAY}.csv"))
    statements = LOAD.format(path=path.replace("'", "''"), answers=ANSWERS)
    heads, answer = _ask_duckdb(statements)
    return Exported(path, facts["rows"], facts["complete"], statements, heads, answer)


def _export(result: DemoResult) -> Any:
    stream = next(stream for stream in result.settings.streams if stream.name == STREAM)
    clock, store = DemoClock(MORNINGS[-1]), store_of(stream.destination)
    admin = KafkaAdmin(result.settings.kafka)  # never asked: all days are sealed
    with ThreadPoolExecutor(1) as pool:
        outside = Outside(result.settings, stream, admin, store, RetryBudget(PATIENCE, clock).ask, pool)
        judges = RuleJudges(outside, patient_transformers(None), lambda: KafkaRangeReader(result.settings.kafka))
        job = StreamExport(
            outside=outside,
            rules=stream.rules,
            today=judges.today,
            judges=judges,
            target=BucketTarget(store, STREAM),
            clock=clock,
            writer=writer_name(),
            watcher=_Silent(),
            rest=lambda: None,
        )
        days = tuple(DayRange(FIRST_DAY, LAST_DAY))
        return job.run(Order(days, None, "none", force=False, hold=False)).facts


def _ask_duckdb(statements: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...] | None]:
    """The heads and rows of the last statement's answer; no rows at all (None) where DuckDB is not installed."""
    if importlib.util.find_spec("duckdb") is None:
        return (), None
    with importlib.import_module("duckdb").connect() as connection:
        result = connection.execute(statements)
        heads = tuple(column[0] for column in result.description)
        return heads, tuple(tuple("" if cell is None else str(cell) for cell in row) for row in result.fetchall())
