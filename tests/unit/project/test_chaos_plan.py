"""The schedule of the chaos campaign: the same for the same seed, and with everything in it."""

import pytest

from tests.chaos.plan import ACTS, ANY_TIME, FAULTS, MOMENTS, ONLY_DAYS, SPOOLS, Fault, Kill, Plan, lines, plan


def kills(made: Plan) -> list[Kill]:
    return [step.action for step in made.steps if isinstance(step.action, Kill)]


def faults(made: Plan) -> list[Fault]:
    bare = [step.action for step in made.steps if isinstance(step.action, Fault)]
    return bare + [kill.under for kill in kills(made) if kill.under is not None]


@pytest.mark.parametrize("size", [(200, 30, 3), (4, 3, 2), (61, 17, 5), (0, 3, 2), (1, 0, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_a_schedule_is_a_function_of_its_seed(seed: int, size: tuple[int, int, int]) -> None:
    assert plan(seed, *size) == plan(seed, *size)
    assert list(lines(plan(seed, *size))) == list(lines(plan(seed, *size)))


def test_other_seeds_make_other_schedules() -> None:
    assert len({tuple(lines(plan(seed, 20, 5, 3))) for seed in range(20)}) == 20


@pytest.mark.parametrize("size", [(200, 30, 3), (4, 3, 2), (61, 17, 5), (0, 3, 2), (1, 0, 2)])
@pytest.mark.parametrize("seed", range(5))
def test_it_has_as_many_kills_and_faults_as_were_asked_for(seed: int, size: tuple[int, int, int]) -> None:
    made = plan(seed, *size)
    assert (made.kills, made.faults) == size[:2]
    assert (sum(len(kill.slots) for kill in kills(made)), len(faults(made))) == size[:2]
    assert {slot for kill in kills(made) for slot in kill.slots} <= set(made.slots)
    assert all(step.company < len(made.slots) for step in made.steps)


@pytest.mark.parametrize("seed", range(5))
def test_a_full_campaign_leaves_nothing_out(seed: int) -> None:
    made = plan(seed, 200, 30, 3)
    assert {kill.moment for kill in kills(made)} == {ANY_TIME, *MOMENTS}
    assert {kill.spool for kill in kills(made)} == set(SPOOLS)
    assert {fault.name for fault in faults(made)} == set(FAULTS)
    assert {(season.protocol, season.static) for season in made.seasons} == {
        (protocol, static) for protocol in ("classic", "consumer") for static in (True, False)
    }
    assert {name for season in made.seasons for name, *_ in season.streams} == {
        "events", "paywall_views", "ua_events", "ua_campaign_metrics"
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(5))
def test_what_cannot_be_there_is_not_asked_for(seed: int) -> None:
    """Marks and large objects belong to new days, and what is done to workers is no weather over a kill."""
    made = plan(seed, 200, 60, 3)
    for season in made.seasons:
        for each in season.rounds:
            for step in each.steps:
                assert step.advance == (each.mode == "days")
                if isinstance(step.action, Kill):
                    assert each.mode == "days" or step.action.moment not in ONLY_DAYS
                    assert step.action.under is None or step.action.under.name not in ACTS
