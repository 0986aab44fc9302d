"""Random schedules in which stored days are replaced.

`REPLACEMENT_SCHEDULES` says how many, `SIMULATION_SEED` where to begin; a failing one prints its seed.
"""

from __future__ import annotations

import os

import pytest

from tests.simulation.past import Past, run_past

FIRST = int(os.environ.get("SIMULATION_SEED", "0"))
COUNT = int(os.environ.get("REPLACEMENT_SCHEDULES", "6"))
PART = 6


@pytest.mark.timeout(900)
@pytest.mark.parametrize("start", range(FIRST, FIRST + COUNT, PART))
def test_each_row_stands_once_whatever_is_replaced(start: int) -> None:
    """What each schedule must come to says `check_replaced`, each write on the way `ReplacementWatch`.

    The numbers say that there was something to look at. A worker that publishes a day amid which a command stands
    still is what shows a word that is lost: `manifest_over_a_replaying_one` is caught by it.
    """
    past = Past()
    for seed in range(start, min(start + PART, FIRST + COUNT)):
        run_past(seed, past)
    assert past.replaced > 0
    assert past.frozen > 0
    assert sum(number for how, number in past.ended.items() if how.endswith("done")) > PART
