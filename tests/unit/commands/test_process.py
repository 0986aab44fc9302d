"""A signal during `run`: noted from the first moment on, and the handlers of before are back at the end."""

from __future__ import annotations

import contextlib
import signal

import pytest

from consumer.commands.process import Interrupted, Stop

BOTH = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize("number", BOTH)
def test_a_worker_notes_it_and_ends_well(number: signal.Signals) -> None:
    hurried: list[int] = []
    with Stop(once=False) as stop:
        stop.hurry = lambda: hurried.append(1)
        assert not stop.asked.is_set()
        signal.raise_signal(number)
        assert stop.asked.is_set()
        assert hurried == [1]
        stop.finish()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_one_shot_command_ends_by_it(number: signal.Signals, code: int) -> None:
    with Stop(once=True) as stop:
        signal.raise_signal(number)
        with pytest.raises(Interrupted) as ended:
            stop.finish()
    assert ended.value.exit_code == code


def test_the_handlers_of_before_are_back_whatever_happens() -> None:
    before = [signal.getsignal(number) for number in BOTH]
    with contextlib.suppress(LookupError), Stop(once=False):
        assert [signal.getsignal(number) for number in BOTH] != before
        raise LookupError
    assert [signal.getsignal(number) for number in BOTH] == before
