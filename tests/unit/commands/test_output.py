"""Tables and sizes as people see them."""

from __future__ import annotations

import pytest

from consumer.commands.output import print_table, size_text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (3 << 30, "3.0 GiB"), (5 << 50, "5120.0 TiB")],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_table_shows_what_it_is_given(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("name", "count"), [("[bold]key[/bold]", 1234567), ("x" * 90, None)], ("count",))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["name", "count"] in lines
    assert ["[bold]key[/bold]", "1,234,567"] in lines
    assert ["x" * 90, "-"] in lines
