"""A partition's phase: which moves there are, which trouble outlives them, and which word is shown."""

from __future__ import annotations

import pytest

from consumer.domain.errors import HaltError, HaltReason, TransientError
from consumer.worker.phase import IN_A_SEAL, LATER_HALTS, MAY_SPILL, NEXT, RECOVERED, Activity, Phase

DOWN = TransientError("store: no answer")
HOLE = HaltError(HaltReason.RETENTION_HOLE, "offsets 5 to 9 are gone")
RATIO = HaltError(HaltReason.QUARANTINE_RATIO, "20 of 30 records")
BUG = KeyError("ours")


def test_every_activity_is_reached_and_left() -> None:
    assert set(NEXT) == set(Activity)
    assert {after for following in NEXT.values() for after in following} == set(Activity)


@pytest.mark.parametrize("activity", Activity)
def test_anything_may_be_stopped(activity: Activity) -> None:
    assert Activity.WAITING in NEXT[activity]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Activity.WAITING, Activity.READING),
        (Activity.RECOVERING, Activity.SEALING),
        (Activity.REBUILDING, Activity.READING),
        (Activity.READING, Activity.SEALING),
        (Activity.SEALING, Activity.SPILLING),
        (Activity.SPILLING, Activity.CATCHING_UP),
    ],
)
def test_what_skips_a_step_is_refused(before: Activity, after: Activity) -> None:
    with pytest.raises(ValueError, match=f"goes from {before} to no {after}"):
        Phase(before).to(after)


@pytest.mark.parametrize("activity", Activity)
def test_the_questions_about_an_activity(activity: Activity) -> None:
    phase = Phase(activity)
    assert phase.recovered == (activity in RECOVERED)
    assert phase.in_a_seal == (activity in IN_A_SEAL)
    assert phase.may_spill == (activity in MAY_SPILL)
    assert not (phase.may_spill and phase.makes_room), "it is asked once"
    assert not phase.in_a_seal or phase.makes_room
    assert str(phase) == activity


def test_a_halt_is_shown_through_the_attempts_to_go_on() -> None:
    phase = Phase(Activity.SEALING).met(RATIO)
    for activity in (Activity.WAITING, Activity.RECOVERING):
        phase = phase.to(activity).met(DOWN).answered()
        assert (str(phase), phase.halt, phase.outage) == ("halted", RATIO, None)
    phase = phase.recovery_succeeded().to(Activity.READING)
    assert phase.halt is RATIO, "the seal has not been tried again"
    assert phase.went_on() == Phase(Activity.READING)


@pytest.mark.parametrize("reason", HaltReason)
def test_a_recovery_that_succeeds_ends_every_halt_but_those_of_a_seal(reason: HaltReason) -> None:
    phase = Phase(Activity.RECOVERING, HaltError(reason, "why")).recovery_succeeded()
    assert phase.stopped == (reason in LATER_HALTS)


def test_an_outage_is_over_once_there_is_an_answer() -> None:
    phase = Phase(Activity.SEALING).met(DOWN)
    assert (str(phase), phase.outage, phase.stopped) == ("sealing", DOWN, False)
    assert phase.went_on() is phase
    assert phase.answered() == Phase(Activity.SEALING)


def test_a_newer_trouble_stands_but_an_outage_hides_nothing() -> None:
    assert Phase().met(DOWN).met(HOLE).halt is HOLE
    assert Phase().met(HOLE).met(RATIO).halt is RATIO
    assert Phase().met(HOLE).met(DOWN).halt is HOLE
    assert Phase().met(BUG).met(DOWN).unexpected is BUG


def test_an_unexpected_error_is_none_of_the_others() -> None:
    phase = Phase(Activity.READING).met(BUG)
    assert (phase.unexpected, phase.halt, phase.outage, phase.stopped) == (BUG, None, None, True)
    assert str(phase) == "unexpected_error"
    assert phase.to(Activity.WAITING).to(Activity.RECOVERING).recovery_succeeded().trouble is None
