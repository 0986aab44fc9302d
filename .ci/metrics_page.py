"""Writes docs/metrics.md: every metric with its labels and meaning, and the reasons of oddities and quarantine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import Counter

from consumer.observe.metrics import NAMESPACE, declared
from consumer.shape.exact.row import ODDITIES
from consumer.shape.quarantine import REASONS

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "metrics.md"
HEAD = f"""# Metrics

Generated from the code by `make docs`; do not edit. Prometheus metrics at `/metrics` on `http.listen`. All names start
with `{NAMESPACE}_`. Alerts: [runbook](runbook.md#alerts-that-wake). Terms: [glossary](architecture.md#glossary). A
partition is reported by the worker it is assigned to. What `/metrics` shows is up to a second old, and older where it
takes more than 0.1 s to make: at most a tenth of the time is spent on it (300 partitions: 4 s), however often it is
asked for.
"""


def page() -> str:
    """The text of docs/metrics.md."""
    parts = [
        HEAD,
        _table(("metric", "type", "labels", "meaning"), _metrics()),
        "## Reasons in `oddities_total`\n",
        _table(("reason", "meaning"), _reasons(ODDITIES)),
        "## Reasons in quarantine lines\n",
        _table(("reason", "meaning"), _reasons(REASONS)),
    ]
    return "\n".join(parts)


def _metrics() -> Iterator[tuple[str, ...]]:
    for make, meta in declared().values():
        kind = "counter" if make is Counter else make.__name__.lower()
        yield f"`{meta.name}`", kind, ", ".join(f"`{label}`" for label in meta.labels), meta.meaning


def _reasons(found: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    return ((f"`{name}`", meaning) for name, meaning in found.items())


def _table(heads: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
