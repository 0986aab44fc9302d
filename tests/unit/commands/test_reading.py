"""How far the reading of a replacement has come: lines every few seconds, or a bar on a terminal."""

from __future__ import annotations

import io

from consumer.commands.progress import LINE_SECONDS
from consumer.commands.reading import telling
from tests.fakes.clock import HandClock


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_say_how_far_how_fast_and_how_long_still() -> None:
    out, clock = io.StringIO(), HandClock()
    with telling(out, clock, "events")("planning", 100_000) as advance:
        advance(1_000)
        assert not out.getvalue(), "it may soon be over"
        clock.advance(LINE_SECONDS)
        advance(9_000)
        advance(1)
        clock.advance(LINE_SECONDS)
        advance(89_999)
    first, last = out.getvalue().splitlines()
    assert first == "events: planning: 10,000 of 100,000 offsets, 1,000/s, 0:01:30 left"
    assert last == "events: planning: 100,000 of 100,000 offsets, 5,000/s, 0:00:00 left"


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    out, clock = Terminal(), HandClock()
    with telling(out, clock, "events")("planning", 10) as advance:
        clock.advance(1)
        advance(10)
    assert "events: planning" in out.getvalue()
    assert "10 of 10 offsets" in out.getvalue()
