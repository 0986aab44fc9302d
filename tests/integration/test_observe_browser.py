"""The status page in a real browser: on a desk and on a phone, dark and light."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from consumer.domain.clock import SystemClock
from consumer.observe.http import HttpServer
from consumer.observe.site import Site
from consumer.observe.snapshot import SnapshotHolder
from tests.builders.snapshots import snapshot
from tests.services.chromium import Page, browser
from tests.services.ports import HOST

DESK, PHONE = (1280, 900), (360, 740)
STATES = ("complete", "revised", "incomplete", "pending", "halted")
READABLE = 4.5
"""The contrast that WCAG 2.1 asks of text."""

CONTRASTS = """
(() => {
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 4).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const color = rgb(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color;
    }
    return [255, 255, 255];
  };
  const found = {};
  const days = ".day.complete, .day.revised, .day.incomplete, .day.pending, .day.halted";
  const wanted = days + ", td, dt, dd, h2, .soft, .trouble, .pill";
  for (const element of document.querySelectorAll(wanted)) {
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    const name = element.className || element.tagName;
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    found[name] = Math.min(ratio, found[name] ?? 99);
  }
  return found;
})()
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    clock = SystemClock()
    board = SnapshotHolder(clock.monotonic(), snapshot())
    server = HttpServer((HOST, 0), Site(board, CollectorRegistry(), clock, clock.monotonic))
    server.start()
    yield f"http://{HOST}:{server.port}/status"
    server.close()


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory, program: Callable[[str], Path]) -> Iterator[Page]:
    program("chromium")
    with browser(tmp_path_factory.mktemp("chromium")) as page:
        yield page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_the_page_can_be_read(chromium: Page, url: str, tmp_path: Path, size: tuple[int, int], dark: bool) -> None:
    chromium.look(width=size[0], height=size[1], dark=dark)
    chromium.open(url)
    chromium.picture(tmp_path / "status.png")
    assert chromium.evaluate("document.documentElement.scrollWidth") <= size[0]
    ratios: dict[str, float] = chromium.evaluate(CONTRASTS)
    assert {f"day {state}" for state in STATES} <= {" ".join(name.split()[:2]) for name in ratios}
    assert {name: ratio for name, ratio in ratios.items() if ratio < READABLE} == {}


def test_dark_is_dark(chromium: Page, url: str) -> None:
    shades = []
    for dark in (False, True):
        chromium.look(width=1000, height=800, dark=dark)
        chromium.open(url)
        color = chromium.evaluate("getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in color.strip("rgb()").split(",")))
    assert shades[0] > 600
    assert shades[1] < 150


def test_it_needs_nothing_but_itself(chromium: Page, url: str) -> None:
    chromium.look(width=1000, height=800, dark=False)
    chromium.open(url)
    assert {params["request"]["url"] for params in chromium.said("Network.requestWillBeSent")} == {url}
    assert chromium.said("Log.entryAdded") == []
    assert chromium.evaluate("document.scripts.length") == 0


def test_each_day_says_what_became_of_it(chromium: Page, url: str) -> None:
    chromium.look(width=1280, height=900, dark=False)
    chromium.open(url)
    days: list[list[dict[str, Any]]] = chromium.evaluate(
        "[...document.querySelectorAll('.days')].map(list => [...list.children].map(day => "
        "({said: day.getAttribute('aria-label'), text: day.innerText, left: day.offsetLeft})))"
    )
    assert [len(stream) for stream in days] == [60] * 4
    events = days[0]
    assert events[-1]["said"] == "2026-11-22: pending"
    assert events[-2]["said"].startswith("2026-11-21: complete, 13 rows, revision 1")
    assert "↻" in events[-7]["text"]
    assert days[2][-1]["said"] == "2026-11-22: waits for an operator"
    weeks = {day["left"]: set() for day in events}  # type: dict[int, set[int]]
    for number, day in enumerate(events):
        weeks[day["left"]].add(number % 7)
    assert len(weeks) == 7
    assert all(len(found) == 1 for found in weeks.values())
