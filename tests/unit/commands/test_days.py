"""Days as they are written behind commands: one form, checked before anything is asked of Kafka or the bucket."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from consumer.commands.arguments import day_of
from consumer.commands.main import run
from consumer.commands.run import _through
from consumer.domain.days import FIRST_DAY, DayRange, day_from
from consumer.domain.errors import UsageError

NO_DAYS = (
    # other forms of ISO 8601, which `date.fromisoformat` takes in part
    *("2026-W47", "2026-W47-6", "2026W476", "20261121", "2026-325", "2026-11", "2026", "2026-11-21T00:00:00Z"),
    *("2026-11-31", "2026-02-29", "2026-13-01", "0000-01-01", "10000-01-01", "-2026-11-21", "+2026-11-21"),
    *("21.11.2026", "11/21/2026", "2026-1-2", "26-11-21", "2026/11/21", "2026_11_21", "1763683200", "nan", "today"),
    *("2026-11-21,2026-11-22", "\uff12026-11-21", "2026-11-2\u0661", "2026\u201111\u201121", "\ud800", "\x00"),
    *("", " ", "2026-11-21 ", " 2026-11-21", "2026-11-21\n", "9" * 5000),
)
COMMANDS = {
    "run": ["run", "--once", "--through={}"],
    "export day": ["export", "--day={}"],
    "export from": ["export", "--from={}", "--to=2026-11-21"],
    "export to": ["export", "--from=2026-11-21", "--to={}"],
    "replay day": ["replay", "--dry-run", "--day={}"],
    "replay from": ["replay", "--dry-run", "--from={}", "--to=2026-11-21"],
    "replay to": ["replay", "--dry-run", "--from=2026-11-21", "--to={}"],
    "rewrite": ["rewrite", "--dry-run", "--from={}", "--to=2026-11-21"],
    "erase": ["erase", "--dry-run", "--column=profile_id", "--values=/dev/null", "--from={}", "--to=2026-11-21"],
    "verify": ["verify", "--from={}"],
    "verify to": ["verify", "--to={}"],
    "status": ["status", "--wait={}"],
    "schema": ["schema", "--for=duckdb", "--load={}"],
}


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    """Settings of a cluster that is not there: what waits for it is noticed by the test's timeout."""
    path = tmp_path / "sink.toml"
    path.write_text(
        f'''kafka.bootstrap_servers = "127.0.0.1:1"
        destination.url = "file://{tmp_path}/out"
        spool.directory = "{tmp_path}/spool"
        http.listen = ""
        streams.events.topic = "events"'''
    )
    return path


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)  # the logs of later tests stay theirs


@pytest.mark.parametrize("text", NO_DAYS)
def test_what_is_no_day_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a day like 2026-11-21|day is out of range|month must be|year 0"):
        day_from(text)
    with pytest.raises(UsageError, match=r"^--day: .* is not a day; write e\.g\. 2026-11-21$"):
        day_of("--day", text)


@pytest.mark.parametrize("day", ["0001-01-01", "1970-01-01", "2008-07-09"])
def test_days_that_no_row_can_have_are_refused(day: str) -> None:
    with pytest.raises(UsageError, match=r"--day: .* is too early: no row is older than 2008-07-10"):
        day_of("--day", day)


@pytest.mark.parametrize("day", [FIRST_DAY, date(2024, 2, 29), date(9999, 12, 31)])
def test_every_other_day_is_itself(day: date) -> None:
    assert day_of("--day", day.isoformat()) == day


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("day", ["2026-W47", "", "1999-12-31"])
def test_each_command_says_so_before_it_asks_anything(
    command: str, day: str, settings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [word.format(day) for word in COMMANDS[command]]
    assert run(["--config", str(settings), *arguments]) == 2
    said = capsys.readouterr().err
    assert "is not a day; write e.g. 2026-11-21" in said or "is too early" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["export", "--day="],
        ["replay", "--day=", "--from=2026-11-20", "--to=2026-11-21", "--dry-run"],
        ["replay", "--undo=0", "--stream=events", "--day=", "--dry-run"],
        ["replay", "--undo=0", "--stream=events", "--from=", "--dry-run"],
        ["replay", "--from=2026-11-22", "--to=2026-11-21", "--dry-run"],
        ["verify", "--from=2026-11-22", "--to=2026-11-21"],
        ["export", "--day=9999-12-31"],
        ["run", "--once", "--through=9999-12-31"],
        ["status", "--wait=2026-11-21", "--timeout=2026-11-22"],
    ],
)
def test_days_that_do_not_go_together_are_refused(arguments: list[str], settings: Path) -> None:
    assert run(["--config", str(settings), *arguments]) == 2


def test_a_day_that_is_not_over_cannot_be_closed() -> None:
    with pytest.raises(UsageError, match="not over yet"):
        _through("9999-12-31", once=True)


def test_a_range_of_days_is_not_made_before_it_is_needed() -> None:
    """`--to 9999-12-31` is a way to say: all."""
    days = DayRange(FIRST_DAY, date.max)
    assert len(days) == 2_918_827
    assert date.max in days
    assert FIRST_DAY in days
    assert date(2008, 7, 9) not in days
    assert list(DayRange(FIRST_DAY, date(2008, 7, 12))) == [FIRST_DAY, date(2008, 7, 11), date(2008, 7, 12)]
    assert list(DayRange(date.max, FIRST_DAY)) == []
