"""What is remembered is short: long texts would fill the memory, however few entries there are."""

from __future__ import annotations

from consumer.domain.remembered import LONGEST, remembering


def test_short_texts_are_looked_up_once_and_long_ones_always() -> None:
    asked: list[bytes] = []

    def size(text: bytes) -> int:
        asked.append(text)
        return len(text)

    of = remembering(size, 2)
    short, longest, long = b"a", b"b" * LONGEST, b"c" * (LONGEST + 1)
    assert [of(text) for text in (short, longest, short, longest)] == [1, LONGEST, 1, LONGEST]
    assert asked == [short, longest]
    asked.clear()
    assert [of(long), of(long)] == [LONGEST + 1] * 2
    assert asked == [long, long]
    asked.clear()
    of(b"d"), of(short)
    assert asked == [b"d", short], "the one used last stays"
