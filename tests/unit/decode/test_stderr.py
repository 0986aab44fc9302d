"""Native code's words go nowhere while anybody wants silence, and where they always went after that."""

from __future__ import annotations

import os

import pytest

from consumer.decode.stderr import silence


def say(text: bytes) -> None:
    os.write(2, text)


def test_silence_lasts_until_the_last_one_ends_it(capfd: pytest.CaptureFixture[str]) -> None:
    say(b"before ")
    first, second = silence(), silence()
    first.__enter__()
    second.__enter__()
    say(b"both ")
    first.__exit__(None, None, None)
    say(b"one ")
    second.__exit__(None, None, None)
    say(b"after")
    assert capfd.readouterr().err == "before after"


def test_an_error_ends_silence_too(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="x"), silence():
        raise ValueError("x")
    with silence():
        say(b"in it")
    say(b"after")
    assert capfd.readouterr().err == "after"


def test_no_descriptor_is_left_behind() -> None:
    def lowest_free() -> int:
        found = os.dup(0)
        os.close(found)
        return found

    before = lowest_free()
    for _ in range(3):
        with silence(), silence():
            pass
    assert lowest_free() == before
