"""The status page as text, and the small decisions behind it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.offsets import Lease, TopicPartition
from consumer.monitor.catch_up import LOOK_SECONDS, CatchUp
from consumer.observe.accept import prefers_html
from consumer.observe.calendar import DAYS_SHOWN, DayState, PublishedDay, calendar, last_complete
from consumer.observe.status import Halted, PartitionStatus, Status
from consumer.observe.status_page import bytes_text, page, short, style
from tests.builders.snapshots import NOW, YESTERDAY, published, snapshot

PLACE = TopicPartition("adapty.events", 3)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("text/*", True),
        ("application/json;q=0.5, text/html;q=0.6", True),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html;q=0", False),
        ("text/html;q=nonsense", False),
        ("text/html;q=nan,*/*;q=0.1", False),
        ("application/json, text/html", False),
        (",;;,", False),
    ],
)
def test_who_gets_html(accept: str, html: bool) -> None:
    assert prefers_html(accept) is html


@given(st.text())
def test_no_accept_header_is_too_strange(accept: str) -> None:
    assert prefers_html(accept) in {True, False}


def test_the_calendar_tells_days_apart() -> None:
    days = {
        YESTERDAY: PublishedDay(1, 10, complete=True),
        YESTERDAY - timedelta(days=1): PublishedDay(3, 20, complete=True),
        YESTERDAY - timedelta(days=2): PublishedDay(1, 5, complete=False),
        YESTERDAY - timedelta(days=4): PublishedDay(1, 0, complete=True),
    }
    cells = calendar(days, NOW.date(), halted=False)
    assert len(cells) == DAYS_SHOWN
    assert [cell.day for cell in cells] == sorted({cell.day for cell in cells})
    states = [cell.state for cell in cells[-7:]]
    assert states == [
        DayState.NONE,
        DayState.COMPLETE,
        DayState.PENDING,
        DayState.INCOMPLETE,
        DayState.REVISED,
        DayState.COMPLETE,
        DayState.PENDING,
    ]
    assert last_complete(days) == YESTERDAY


def test_a_halted_stream_waits_for_an_operator() -> None:
    cells = calendar({YESTERDAY: PublishedDay(1, 1, complete=True)}, NOW.date() + timedelta(days=1), halted=True)
    assert [cell.state for cell in cells[-4:]] == [
        DayState.NONE,
        DayState.COMPLETE,
        DayState.HALTED,
        DayState.HALTED,
    ]


def test_a_new_stream_waits_for_today_alone() -> None:
    cells = calendar({}, NOW.date(), halted=False)
    assert {cell.state for cell in cells[:-1]} == {DayState.NONE}
    assert cells[-1].state is DayState.PENDING
    assert last_complete({}) is None


@given(st.dictionaries(st.dates(), st.builds(PublishedDay, st.integers(1), st.integers(0), st.booleans())), st.dates())
def test_every_published_day_in_view_is_shown(days: dict[date, PublishedDay], today: date) -> None:
    if today.toordinal() <= DAYS_SHOWN:
        return
    cells = {cell.day: cell for cell in calendar(days, today, halted=False)}
    assert {day: found for day, found in days.items() if day in cells} == {
        day: cell.published for day, cell in cells.items() if cell.published is not None
    }


def test_the_page_escapes_what_others_named() -> None:
    text = page(snapshot())
    assert "clicks<script>" not in text
    assert "clicks&lt;script&gt;" in text


def test_the_page_shows_streams_lag_days_and_halts() -> None:
    text = page(snapshot())
    assert text.count('<ol class="days">') == 4
    assert '<tr class="halted"><td data-is="partition">1</td><td data-is="phase">halted</td>' in text
    assert "retention_hole" in text
    assert "2026-11-21: complete, 13 rows, revision 1" in text
    assert "26,823,985" in text
    assert re.search(r"2026-11-16: complete, revised by late rows or a replay, [\d,]+ rows, revision 2", text)


def test_the_page_of_a_starting_worker() -> None:
    assert "starting" in page(None)


def test_the_style_sheet_closes_no_tag() -> None:
    assert "<" not in style()


@pytest.mark.parametrize(
    ("number", "said"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (9949, "9.9k"), (9950, "10k"), (999_499, "999k"), (999_500, "1.0M")],
)
def test_short_numbers(number: int, said: str) -> None:
    assert short(number) == said


@given(st.integers(0, 10**14))
def test_short_numbers_are_short(number: int) -> None:
    assert len(short(number)) <= 5


@pytest.mark.parametrize(("number", "said"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (20 << 30, "20.0 GiB")])
def test_sizes(number: int, said: str) -> None:
    assert bytes_text(number) == said


def test_the_status_document_is_the_contract() -> None:
    known = PartitionStatus(
        "events",
        PLACE,
        committed=5,
        end=12,
        position=10,
        open_days=(date(2026, 11, 21), date(2026, 11, 22)),
        last_cutoff=date(2026, 11, 20),
        next_seal=datetime(2026, 11, 22, 4, tzinfo=UTC),
        retention_hours=160.123,
        phase="catching_up",
    )
    status = Status((known, PartitionStatus("events", PLACE)), (Halted("events", PLACE, "log_truncated", "secret"),))
    assert status.to_json() == {
        "partitions": [
            {
                "stream": "events",
                "topic": "adapty.events",
                "partition": 3,
                "committed": 5,
                "end": 12,
                "held": 7,
                "position": 10,
                "lag": 2,
                "open_days": ["2026-11-21", "2026-11-22"],
                "last_cutoff": "2026-11-20",
                "next_seal": "2026-11-22T04:00:00Z",
                "retention_hours": 160.12,
                "phase": "catching_up",
            },
            {"stream": "events", "topic": "adapty.events", "partition": 3}
            | dict.fromkeys(
                [
                    "committed", "end", "held", "position", "lag", "open_days", "last_cutoff", "next_seal",
                    "retention_hours",
                ]
            ),
        ],
        "halted": [{"stream": "events", "partition": 3, "reason": "log_truncated"}],
    }  # fmt: skip


LEASE = Lease(PLACE, 1)


def test_a_long_catch_up_is_told_with_rate_and_time_left() -> None:
    watch = CatchUp(0.0)
    assert watch.look(LOOK_SECONDS, {LEASE: 0}, 60_000) is None, "no rate is known yet"
    pace = watch.look(2 * LOOK_SECONDS, {LEASE: 15_000}, 45_000)
    assert pace is not None
    assert (pace.left, pace.per_second, pace.seconds_left) == (45_000, 1000.0, 45.0)
    assert watch.catching_up
    assert watch.look(2 * LOOK_SECONDS + 1, {LEASE: 16_000}, 44_000) is None, "not that often"
    end = watch.look(3 * LOOK_SECONDS, {LEASE: 60_000}, 0)
    assert end is not None
    assert (end.left, end.per_second) == (0, 3000.0)
    assert watch.look(4 * LOOK_SECONDS, {LEASE: 60_000}, 0) is None


def test_a_short_catch_up_is_not_worth_a_line() -> None:
    watch = CatchUp(0.0)
    watch.look(LOOK_SECONDS, {LEASE: 0}, 16_000)
    assert watch.look(2 * LOOK_SECONDS, {LEASE: 15_000}, 1000) is None


def test_reading_that_stands_still_has_no_time_left_to_tell() -> None:
    watch = CatchUp(0.0)
    watch.look(LOOK_SECONDS, {LEASE: 10}, 5)
    pace = watch.look(2 * LOOK_SECONDS, {LEASE: 10}, 5)
    assert pace is not None
    assert (pace.per_second, pace.seconds_left) == (0.0, None)


def test_a_partition_that_moves_in_is_no_progress() -> None:
    watch = CatchUp(0.0)
    watch.look(LOOK_SECONDS, {LEASE: 10}, 5)
    other = Lease(TopicPartition("adapty.events", 4), 2)
    pace = watch.look(2 * LOOK_SECONDS, {LEASE: 10, other: 1_000_000}, 5)
    assert pace is not None
    assert pace.per_second == 0.0


def test_snapshots_of_the_tests_are_plausible() -> None:
    assert len(published()) == 80
