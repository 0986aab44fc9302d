"""A page that costs something to render: how often that happens, and who waits for it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus

import pytest

from consumer.observe.cached_page import FRESH_SECONDS, MOST_SHARE, CachedPage, Response


@dataclass
class Renders:
    """A page that says how often it was rendered, and takes `cost` seconds by a clock that only moves when told."""

    cost: float = 0.0
    at: float = 100.0
    count: int = 0
    goes_on: threading.Event = field(default_factory=threading.Event)
    started: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.goes_on.set()

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.at, UTC)

    def monotonic(self) -> float:
        return self.at

    def render(self) -> Response:
        self.started.set()
        assert self.goes_on.wait(5)
        self.count += 1
        self.at += self.cost
        return Response(HTTPStatus.OK, "text/plain", b"%d" % self.count)


def test_all_who_ask_within_a_second_get_the_same() -> None:
    renders = Renders()
    page = CachedPage(renders.render, renders)
    assert [page.get().body for _ in range(5)] == [b"1"] * 5
    renders.at += FRESH_SECONDS - 0.01
    assert page.get().body == b"1"
    renders.at += 0.01
    assert [page.get().body for _ in range(5)] == [b"2"] * 5


@pytest.mark.parametrize("cost", [0.5, 3.0])
def test_what_takes_long_is_rendered_more_rarely(cost: float) -> None:
    renders = Renders(cost)
    page = CachedPage(renders.render, renders)
    started = renders.at
    while renders.at < started + 1000:
        page.get()
        renders.at += 0.25
    assert renders.count * cost <= 1000 * MOST_SHARE + cost


def test_while_it_is_rendered_others_get_the_previous_one() -> None:
    renders = Renders()
    page = CachedPage(renders.render, renders)
    page.get()
    renders.at += FRESH_SECONDS
    renders.goes_on.clear()
    renders.started.clear()
    slow = threading.Thread(target=page.get)
    slow.start()
    assert renders.started.wait(5)
    assert page.get().body == b"1"
    renders.goes_on.set()
    slow.join(5)
    assert (page.get().body, renders.count) == (b"2", 2)


def test_the_first_one_is_waited_for_and_rendered_once() -> None:
    renders = Renders()
    page = CachedPage(renders.render, renders)
    renders.goes_on.clear()
    said: list[bytes] = []
    asking = [threading.Thread(target=lambda: said.append(page.get().body)) for _ in range(4)]
    for one in asking:
        one.start()
    assert renders.started.wait(5)
    renders.goes_on.set()
    for one in asking:
        one.join(5)
    assert said == [b"1"] * 4


def test_an_error_is_raised_and_not_kept() -> None:
    renders, broken = Renders(), [True]

    def render() -> Response:
        if broken:
            raise ValueError(broken.pop())
        return renders.render()

    page = CachedPage(render, renders)
    with pytest.raises(ValueError, match="True"):
        page.get()
    assert page.get().body == b"1"
