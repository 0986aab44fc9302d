"""Random schedules over the real worker core. `SIMULATION_SCHEDULES` says how many, `SIMULATION_SEED` where to begin.

Each takes half a second of CPU; a campaign: `SIMULATION_SCHEDULES=20000 .venv/bin/pytest -n 4 tests/simulation`.

A failing schedule prints its seed; `SIMULATION_SEED=n SIMULATION_SCHEDULES=1` runs just that one again.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.schedule import Outcome, run_schedule

FIRST = int(os.environ.get("SIMULATION_SEED", "0"))
COUNT = int(os.environ.get("SIMULATION_SCHEDULES", "400"))
PART = 40
VARIED = 30
"""So many schedules from the first one on go through everything that a schedule should."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", range(FIRST, FIRST + COUNT, PART))
def test_no_row_is_lost_or_doubled(start: int) -> None:
    outcomes = [run_schedule(seed) for seed in range(start, min(start + PART, FIRST + COUNT))]
    assert sum(outcome.rows for outcome in outcomes) > 0
    assert sum(outcome.seals for outcome in outcomes) > 0
    if start == 0 and len(outcomes) >= VARIED:
        check_variety(outcomes[:VARIED])


def check_variety(outcomes: list[Outcome]) -> None:
    notes = " ".join(note for outcome in outcomes for note in outcome.notes)
    assert sum(outcome.kills for outcome in outcomes) > 20
    assert sum(outcome.frozen for outcome in outcomes) > 10
    assert sum(outcome.spills for outcome in outcomes) > 10
    for word in ("caught up", "spill", "pending", "spool kept", "read again", "ahead of the store's"):
        assert word in notes
