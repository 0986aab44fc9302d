"""The plan of one object, batch by batch: whether its text would stay as it is."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.batches import DayRows
from consumer.replace.basis import Basis
from consumer.replace.partition_view import StoredObject
from consumer.replace.plan import ObjectPlan
from consumer.seal.record import ObjectEntry
from consumer.seal.replacements.record import Former

DAY = date(2024, 7, 14)
LINES = st.sampled_from([b"a\n", b"b\n", b"c\n"])
SAME_ROWS = st.lists(st.tuples(LINES, LINES), min_size=1, max_size=3).map(
    lambda pairs: ([one for one, _ in pairs], [other for _, other in pairs])
)
OTHER_ROWS = st.tuples(st.lists(LINES, max_size=3), st.lists(LINES, max_size=3))
BATCHES = st.lists(
    st.one_of(st.tuples(st.just(True), SAME_ROWS), st.tuples(st.just(False), OTHER_ROWS)), min_size=1, max_size=5
)


def rows(lines: list[bytes]) -> DayRows | None:
    return DayRows(DAY, False, len(lines), 0, len(lines) - 1, b"".join(lines)) if lines else None


@given(BATCHES)
def test_an_object_is_the_same_where_its_whole_text_is(
    batches: list[tuple[bool, tuple[list[bytes], list[bytes]]]],
) -> None:
    stored = StoredObject(ObjectEntry("key", "events", DAY, 1, 0, 0), "", None, Basis())
    one = ObjectPlan("key", DAY, 0, stored, Former("etag", "sha256"))
    for same_rows, (before, after) in batches:
        one.add(rows(before), rows(after), same_rows=same_rows)
    text, new_text = (b"".join(line for _, pair in batches for line in pair[side]) for side in (0, 1))
    assert one.same(("x",), ("x",)) == (text == new_text)
    assert one.before.size == len(text)
    assert one.after.rows == len(new_text) // 2
