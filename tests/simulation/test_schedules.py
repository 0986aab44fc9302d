"""Random schedules over the real worker core. `SIMULATION_SCHEDULES` says how many, `SIMULATION_SEED` where to begin.

Each takes a second or more of CPU; a campaign: `SIMULATION_SCHEDULES=20000 .venv/bin/pytest -n 4 tests/simulation`.

A failing schedule prints its seed; `SIMULATION_SEED=n SIMULATION_SCHEDULES=1` runs just that one again.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.schedule import run_schedule

FIRST = int(os.environ.get("SIMULATION_SEED", "0"))
COUNT = int(os.environ.get("SIMULATION_SCHEDULES", "400"))
PART = 25


@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", range(FIRST, FIRST + COUNT, PART))
def test_no_row_is_lost_or_doubled(start: int) -> None:
    outcomes = [run_schedule(seed) for seed in range(start, min(start + PART, FIRST + COUNT))]
    assert sum(outcome.rows for outcome in outcomes) > 0
    assert sum(outcome.seals for outcome in outcomes) > 0


def test_schedules_go_through_what_they_should() -> None:
    outcomes = [run_schedule(seed) for seed in range(30)]
    notes = " ".join(note for outcome in outcomes for note in outcome.notes)
    assert sum(outcome.kills for outcome in outcomes) > 20
    assert sum(outcome.frozen for outcome in outcomes) > 10
    assert sum(outcome.spills for outcome in outcomes) > 10
    for word in ("caught up", "spill", "pending", "spool kept", "read again", "ahead of the store's"):
        assert word in notes
