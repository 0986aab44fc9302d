"""The recovery table: what an assignment finds, and what follows from it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.domain.errors import Halt, HaltReason
from consumer.domain.offsets import Commit
from consumer.seal.chain import Chain
from consumer.seal.recover import NO_RECORD, RecoveryFacts, RecoveryPlan, SpoolReach, commit_for, commit_proves, recover
from consumer.streams.rules import DayBy
from tests.builders.chains import ONE, RULES, chain_of, data, ends, gap
from tests.builders.nested import nested

TODAY = RULES.digest
EMPTY = Chain()


def found(chain: Chain = EMPTY, **changes: Any) -> RecoveryFacts:
    """All is well: the last seal is finished, its offset committed, the log whole, no spool."""
    return replace(
        RecoveryFacts(
            partition=ONE,
            stream="s",
            group="g",
            rules=RULES,
            chain=chain,
            head_rules=None if chain.empty else RULES,
            finished=True,
            commit=None if chain.empty else commit_for(chain),
            topic_id="id-1",
            ends=ends(high=1000),
            spool=None,
            begin=0,
        ),
        **changes,
    )


def spool(chain: Chain, position: int, **changes: Any) -> SpoolReach:
    """A spool that builds on the head and begins where it resumes."""
    built = SpoolReach("id-1", TODAY, chain.identity, NO_RECORD, 0, position)
    if not chain.empty:
        built = replace(built, builds_on=chain.head.n, start=chain.head.resume)
    return replace(built, **changes)


def plan(seen: RecoveryFacts) -> RecoveryPlan:
    outcome = recover(seen)
    assert isinstance(outcome, RecoveryPlan), outcome
    return outcome


def stop(seen: RecoveryFacts) -> Halt:
    outcome = recover(seen)
    assert isinstance(outcome, Halt), outcome
    return outcome


TWO_SEALS = chain_of({}, {"resume": 150})
"""Finished: sealed through 200, resumes at 150."""
PENDING = chain_of({"resume": 80}, {"resume": 150, "objects": (data(1, 200, 5, 100, 140),)})
"""Its last seal takes rows from 80 on."""


# No chain


def test_a_new_partition_starts_where_its_stream_does_and_commits_that() -> None:
    assert plan(found(begin=30)) == RecoveryPlan(
        30, 30, spool=False, commit=Commit(30), notes=("nothing sealed in this folder yet",)
    )


def test_a_new_folder_under_an_old_group_starts_at_the_commit() -> None:
    outcome = plan(found(begin=0, commit=Commit(70, '{"chain":"of another folder","seal":9}')))
    assert (outcome.start, outcome.position, outcome.commit, outcome.pending) == (70, 70, None, None)


def test_before_the_first_record_the_spool_goes_on_from_its_position() -> None:
    seen = found(commit=Commit(70), spool=spool(EMPTY, 90, start=70))
    assert plan(seen) == RecoveryPlan(70, 90, spool=True, notes=("spool kept",))


@pytest.mark.parametrize(
    "change",
    [
        {"start": 69},
        {"builds_on": 0},
        {"chain": "0123456789abcdef"},
        {"settings": "others"},
        {"topic_id": "id-0"},
        {"position": 69},
        {"position": 1001},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_spool_of_something_else_is_left(change: dict[str, Any]) -> None:
    seen = found(commit=Commit(70), spool=replace(spool(EMPTY, 90, start=70), **change))
    assert plan(seen) == RecoveryPlan(70, 70, spool=False, notes=("nothing sealed in this folder yet",))


def test_a_commit_at_the_logs_end_is_fine() -> None:
    assert plan(found(commit=Commit(1000))).position == 1000


def test_a_commit_above_the_logs_end_halts() -> None:
    outcome = stop(found(commit=Commit(1001)))
    assert outcome.reason is HaltReason.LOG_TRUNCATED
    assert "t:0 ends at 1000, but the group has committed 1001" in outcome.message


def test_a_commit_below_the_logs_start_halts_with_the_command() -> None:
    outcome = stop(found(commit=Commit(70), ends=ends(low=90)))
    assert outcome.reason is HaltReason.RETENTION_HOLE
    assert "offsets 70 to 90 were deleted" in outcome.message
    assert outcome.message.endswith("adapty-sink accept-gap t:0 70 90")


def test_before_the_first_record_a_spool_covers_the_hole() -> None:
    seen = found(commit=Commit(70), ends=ends(low=90), spool=spool(EMPTY, 90, start=70))
    assert plan(seen) == RecoveryPlan(70, 90, spool=True, notes=("spool kept",))
    short = found(commit=Commit(70), ends=ends(low=91), spool=spool(EMPTY, 90, start=70))
    assert stop(short).reason is HaltReason.RETENTION_HOLE


def test_a_new_partition_whose_log_begins_later_starts_there() -> None:
    assert plan(found(begin=90, ends=ends(low=90))).start == 90


# A chain whose last seal is finished


def test_where_the_commit_says_it_nothing_is_committed_again() -> None:
    assert plan(found(TWO_SEALS)) == RecoveryPlan(150, 150, spool=False)


@pytest.mark.parametrize(
    ("commit", "said"),
    [
        (None, "absent"),
        (Commit(150), "150"),
        (Commit(149, commit_for(TWO_SEALS).metadata), "149"),
        (Commit(400, commit_for(TWO_SEALS).metadata), "400"),
        (Commit(150, commit_for(chain_of({})).metadata), "150"),
        (Commit(5000, "by hand"), "5000"),
    ],
)
def test_a_group_offset_that_says_something_else_is_set_right_and_worth_a_line(
    commit: Commit | None, said: str
) -> None:
    outcome = plan(found(TWO_SEALS, commit=commit))
    assert (outcome.start, outcome.position, outcome.commit) == (150, 150, commit_for(TWO_SEALS))
    assert outcome.notes == (f"the group's offset is {said}, not 150",)


def test_the_commit_names_the_chain_and_the_seal() -> None:
    wanted = commit_for(TWO_SEALS)
    assert wanted.offset == 150
    assert wanted.metadata == f'{{"chain":"{TWO_SEALS.digests[0][:16]}","seal":1}}'


def test_the_spool_goes_on_behind_the_head() -> None:
    assert plan(found(TWO_SEALS, spool=spool(TWO_SEALS, 230))) == RecoveryPlan(
        150, 230, spool=True, notes=("spool kept",)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"builds_on": 0},
        {"builds_on": 2},
        {"builds_on": NO_RECORD},
        {"start": 149},
        {"chain": ""},
        {"chain": "0123456789abcdef"},
        {"settings": "others"},
        {"settings": "rebuild 1"},
        {"topic_id": "id-0"},
        {"position": 149},
        {"position": 1001},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_spool_that_does_not_build_on_the_head_is_left(change: dict[str, Any]) -> None:
    seen = found(TWO_SEALS, spool=replace(spool(TWO_SEALS, 230), **change))
    assert plan(seen) == RecoveryPlan(150, 150, spool=False)


def test_a_hole_below_the_resume_offset_halts_with_the_command() -> None:
    outcome = stop(found(TWO_SEALS, ends=ends(low=160)))
    assert outcome.reason is HaltReason.RETENTION_HOLE
    assert outcome.message.endswith("adapty-sink accept-gap t:0 150 160")


def test_the_log_may_begin_at_the_resume_offset() -> None:
    assert plan(found(TWO_SEALS, ends=ends(low=150))).start == 150


def test_the_spool_covers_a_hole_if_its_position_is_in_the_log() -> None:
    kept = plan(found(TWO_SEALS, ends=ends(low=230), spool=spool(TWO_SEALS, 230)))
    assert (kept.start, kept.position, kept.spool) == (150, 230, True)
    beyond = stop(found(TWO_SEALS, ends=ends(low=231), spool=spool(TWO_SEALS, 230)))
    assert beyond.reason is HaltReason.RETENTION_HOLE
    assert "150 231" in beyond.message


# A pending seal


def test_a_pending_seal_is_finished_from_the_spool_it_was_decided_from() -> None:
    before = SpoolReach("id-1", TODAY, PENDING.identity, 0, 80, 200)
    outcome = plan(found(PENDING, finished=False, commit=commit_for(chain_of({})), spool=before))
    assert outcome == RecoveryPlan(80, 200, spool=True, pending=PENDING.head, notes=("seal 1 pending",))


def test_the_first_seal_pends_on_a_spool_without_a_chain() -> None:
    chain = chain_of({"start": 5, "resume": 60})
    before = SpoolReach("id-1", TODAY, "", NO_RECORD, 5, 100)
    outcome = plan(found(chain, finished=False, commit=Commit(5), spool=before))
    assert (outcome.spool, outcome.pending, outcome.start, outcome.position) == (True, chain.head, 5, 100)


REREAD = RecoveryPlan(80, 80, spool=False, pending=PENDING.head, notes=("seal 1 pending, its rows are read again",))


@pytest.mark.parametrize(
    "change",
    [
        {"position": 199},
        {"position": 201},
        {"builds_on": 1},
        {"builds_on": NO_RECORD},
        {"start": 81},
        {"chain": ""},
        {"settings": "others"},
        {"topic_id": "id-0"},
    ],
    ids=lambda change: f"{next(iter(change))}-{next(iter(change.values()))}",
)
def test_a_spool_at_another_place_or_of_other_settings_does_not_finish_it(change: dict[str, Any]) -> None:
    before = replace(SpoolReach("id-1", TODAY, PENDING.identity, 0, 80, 200), **change)
    assert plan(found(PENDING, finished=False, spool=before)) == REREAD


def test_a_seal_decided_by_other_settings_is_not_finished_from_todays_spool() -> None:
    theirs = chain_of({"resume": 80}, {"resume": 150, "settings": "others"})
    before = SpoolReach("id-1", TODAY, theirs.identity, 0, 80, 200)
    outcome = plan(found(theirs, finished=False, spool=before))
    assert (outcome.spool, outcome.pending) == (False, theirs.head)
    assert plan(found(theirs, finished=False, spool=replace(before, settings="others"))).spool is False


def test_without_a_spool_its_rows_are_read_again_and_nothing_is_committed_yet() -> None:
    assert plan(found(PENDING, finished=False, commit=None)) == REREAD
    assert plan(found(PENDING, finished=False, commit=Commit(9999, "by hand"))) == REREAD


def test_a_hole_over_a_pending_seal_halts_from_its_start() -> None:
    outcome = stop(found(PENDING, finished=False, ends=ends(low=90)))
    assert outcome.reason is HaltReason.RETENTION_HOLE
    assert outcome.message.endswith("adapty-sink accept-gap t:0 80 90")


def test_the_spool_covers_a_hole_over_a_pending_seal() -> None:
    before = SpoolReach("id-1", TODAY, PENDING.identity, 0, 80, 200)
    assert plan(found(PENDING, finished=False, ends=ends(low=200), spool=before)).spool
    assert stop(found(PENDING, finished=False, ends=ends(low=201), spool=before)).reason is HaltReason.RETENTION_HOLE


def test_a_pending_seal_without_offsets_needs_nothing_of_the_log() -> None:
    """A spill was closed by a record with the same through, whose start is there."""
    chain = chain_of({"caught_up": False}, {"through": 100, "resume": 100, "start": 100})
    outcome = plan(found(chain, finished=False, ends=ends(low=140)))
    assert (outcome.start, outcome.pending) == (100, chain.head)


# Gaps


def test_after_a_gap_reading_goes_on_behind_it() -> None:
    chain = gap(TWO_SEALS, 150, 260)
    assert plan(found(chain, ends=ends(low=260))) == RecoveryPlan(260, 260, spool=False)
    assert stop(found(chain, ends=ends(low=261))).message.endswith("accept-gap t:0 260 261")


def test_a_pending_seal_under_a_gap_is_finished_with_the_rows_that_are_left() -> None:
    chain = gap(PENDING, 80, 120)
    outcome = plan(found(chain, finished=False, ends=ends(low=120)))
    assert outcome == RecoveryPlan(
        120,
        120,
        spool=False,
        pending=PENDING.head,
        lossy=True,
        notes=("seal 1 pending, its rows are read again",),
    )


def test_under_a_gap_the_spool_of_the_pending_seal_is_not_taken() -> None:
    """The gap's word is that these rows are lost: what the bucket gets must not depend on who finds a spool."""
    chain = gap(PENDING, 80, 120)
    before = SpoolReach("id-1", TODAY, PENDING.identity, 0, 80, 200)
    assert plan(found(chain, finished=False, ends=ends(low=120), spool=before)).spool is False


def test_another_hole_under_a_gap_is_named_from_where_the_gap_ends() -> None:
    outcome = stop(found(gap(PENDING, 80, 120), finished=False, ends=ends(low=130)))
    assert outcome.message.endswith("accept-gap t:0 120 130")


def test_a_gap_over_the_whole_pending_seal_leaves_nothing_to_read() -> None:
    outcome = plan(found(gap(PENDING, 80, 300), finished=False, ends=ends(low=310)))
    assert (outcome.start, outcome.position, outcome.lossy, outcome.pending) == (300, 300, True, PENDING.head)


def test_of_two_gaps_the_newer_one_says_where_to_read() -> None:
    chain = gap(gap(PENDING, 80, 120), 120, 130)
    outcome = plan(found(chain, finished=False, ends=ends(low=130)))
    assert (outcome.start, outcome.lossy, outcome.pending) == (130, True, PENDING.head)


def test_a_gap_as_the_first_record() -> None:
    chain = gap(EMPTY, 10, 40)
    assert chain.last_seal is None
    seen = found(chain, ends=ends(low=40), commit=Commit(10))
    assert plan(seen).commit == commit_for(chain)
    assert plan(seen).start == 40


# Refusals


def test_another_stream_has_the_chain() -> None:
    outcome = stop(found(chain_of({"stream": "other"})))
    assert outcome.reason is HaltReason.FOREIGN_CHAIN
    assert "belongs to stream other, not s" in outcome.message
    assert "its own destination folder" in outcome.message


def test_another_groups_chain_is_gone_on_with_and_worth_a_line() -> None:
    chain = chain_of({"group": "old"})
    assert plan(found(chain)).notes == ("the chain was written by group old",)
    assert plan(found(chain, spool=spool(chain, 130))).notes == ("the chain was written by group old", "spool kept")
    pending = plan(found(chain, finished=False))
    assert pending.notes == ("the chain was written by group old", "seal 0 pending, its rows are read again")


def test_a_recreated_topic_halts() -> None:
    outcome = stop(found(TWO_SEALS, topic_id="id-2"))
    assert outcome.reason is HaltReason.TOPIC_RECREATED
    for words in ("id id-2", "sealed id-1", "into a new folder"):
        assert words in outcome.message


def test_a_recreated_topic_without_a_chain_is_a_new_one() -> None:
    assert plan(found(topic_id="id-2", begin=5)).start == 5


def test_the_log_may_end_where_it_was_sealed_but_not_before() -> None:
    assert plan(found(TWO_SEALS, ends=ends(high=200))).start == 150
    outcome = stop(found(TWO_SEALS, ends=ends(high=199)))
    assert outcome.reason is HaltReason.LOG_TRUNCATED
    for words in ("ends at 199", "sealed through 200", "into a new folder"):
        assert words in outcome.message


def test_the_stable_end_below_the_head_is_no_truncation() -> None:
    assert plan(found(TWO_SEALS, ends=ends(lso=180, high=200))).start == 150


@pytest.mark.parametrize(
    ("name", "now", "said"),
    [
        ("topic", {"topic": "u"}, "topic of stream s was t when its chain began and is u now"),
        ("day_by", {"day_by": DayBy.RECORD}, "day_by of stream s was event when its chain began and is record now"),
        ("time_field", {"time_field": "b"}, "time_field of stream s was at when its chain began and is b now"),
    ],
)
def test_what_never_changes_in_a_chain(name: str, now: dict[str, Any], said: str) -> None:
    outcome = stop(found(TWO_SEALS, rules=replace(RULES, **now)))
    assert outcome.reason is HaltReason.SETTINGS_CONFLICT
    assert said in outcome.message
    assert "put it back, or seal into a new folder" in outcome.message
    assert isinstance(recover(found(rules=replace(RULES, **now))), RecoveryPlan), "without a chain nothing is fixed yet"


def test_other_settings_change_at_any_time() -> None:
    new = replace(RULES, kind="events", send_user_attributes=True, writer_schema=RULES.schema)
    assert plan(found(TWO_SEALS, rules=new)).start == 150
    assert recover(found(TWO_SEALS, head_rules=None)) == RecoveryPlan(150, 150, spool=False)


def test_what_is_worse_is_said_first() -> None:
    worst = found(chain_of({"stream": "other"}), topic_id="id-2", ends=ends(high=1), rules=replace(RULES, topic="u"))
    assert stop(worst).reason is HaltReason.FOREIGN_CHAIN
    recreated = replace(worst, stream="other")
    assert stop(recreated).reason is HaltReason.TOPIC_RECREATED
    assert stop(replace(recreated, topic_id="id-1")).reason is HaltReason.LOG_TRUNCATED
    assert stop(replace(recreated, topic_id="id-1", ends=ends())).reason is HaltReason.SETTINGS_CONFLICT


STOPS = {
    "foreign": found(chain_of({"stream": "other"})),
    "recreated": found(TWO_SEALS, topic_id="id-2"),
    "truncated": found(TWO_SEALS, ends=ends(high=199)),
    "truncated without a chain": found(commit=Commit(1001)),
    "conflict": found(TWO_SEALS, rules=replace(RULES, topic="u")),
    "hole": found(TWO_SEALS, ends=ends(low=160)),
    "hole without a chain": found(commit=Commit(70), ends=ends(low=90)),
    "hole over a pending seal": found(PENDING, finished=False, ends=ends(low=90)),
}


@pytest.mark.parametrize("seen", STOPS.values(), ids=STOPS)
def test_each_halt_says_a_way_out(seen: RecoveryFacts) -> None:
    message = stop(seen).message
    ways = ("folder", "accept-gap", "put it back")
    assert any(way in message for way in ways)
    assert "t:0" in message or "stream s" in message


# What a commit proves


def test_a_commit_proves_a_finished_seal_by_chain_and_number() -> None:
    own = TWO_SEALS.identity
    proofs = {
        f'{{"chain":"{own}","seal":1}}': True,
        f'{{"chain":"{own}","seal":2}}': True,
        f'{{"chain":"{own}","seal":"1"}}': True,
        f'{{"chain":"{own}","seal":0}}': False,
        '{"chain":"0123456789abcdef","seal":1}': False,
        f'{{"chain":"{own}"}}': False,
        f'{{"chain":"{own}","seal":null}}': False,
        f'{{"chain":"{own}","seal":[1]}}': False,
        f'{{"chain":"{own}","seal":"x"}}': False,
        '{"seal":1}': False,
        "": False,
        "null": False,
        "7": False,
        '"text"': False,
        "{": False,
        "of another tool": False,
    }
    for metadata, proves in proofs.items():
        assert commit_proves(TWO_SEALS, Commit(150, metadata)) is proves, metadata


def test_the_offset_alone_proves_nothing() -> None:
    assert not commit_proves(TWO_SEALS, Commit(150))
    assert not commit_proves(TWO_SEALS, Commit(999_999))
    assert not commit_proves(TWO_SEALS, None)


def test_where_there_is_no_seal_there_is_nothing_to_prove() -> None:
    assert commit_proves(EMPTY, None)
    assert commit_proves(gap(EMPTY, 0, 5), None)


def test_behind_a_gap_it_is_the_last_seal_that_is_to_be_proved() -> None:
    chain = gap(TWO_SEALS, 150, 160)
    assert commit_proves(chain, commit_for(TWO_SEALS))
    assert commit_proves(chain, commit_for(chain))
    assert not commit_proves(chain, commit_for(chain_of({})))


@given(metadata=st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1"))))
def test_any_metadata_is_read_without_a_failure(metadata: str) -> None:
    assert not commit_proves(TWO_SEALS, Commit(150, metadata))


NAMES = st.sampled_from(["chain", "seal", "x"])
JSON = nested(
    st.none() | st.booleans() | st.integers(-(1 << 60), 1 << 60) | st.floats(allow_nan=False) | st.text(), NAMES
)


@given(said=JSON | st.dictionaries(NAMES, JSON))
def test_any_json_is_read_without_a_failure(said: Any) -> None:
    assert not commit_proves(TWO_SEALS, Commit(150, orjson.dumps(said).decode()))


# Whatever is found

CHAINS = st.sampled_from(
    [EMPTY, TWO_SEALS, PENDING, gap(TWO_SEALS, 150, 160), gap(PENDING, 80, 120), gap(EMPTY, 5, 30)]
)
OFFSET = st.integers(0, 1200)


@given(
    chain=CHAINS,
    finished=st.booleans(),
    commit=st.none() | OFFSET.map(Commit),
    log=st.tuples(OFFSET, OFFSET),
    begun=st.none() | st.tuples(OFFSET, OFFSET, st.integers(-1, 2)),
)
def test_no_plan_reads_what_the_log_does_not_have_or_skips_a_row_not_taken(
    chain: Chain, finished: bool, commit: Commit | None, log: tuple[int, int], begun: tuple[int, int, int] | None
) -> None:
    low, high = min(log), max(log)
    reach = None if begun is None else SpoolReach("id-1", TODAY, chain.identity, begun[2], begun[0], begun[1])
    done = finished or chain.last_seal is None
    seen = found(chain, finished=done, commit=commit, ends=ends(low, high), spool=reach, begin=low)
    outcome = recover(seen)
    if isinstance(outcome, Halt):
        return
    assert outcome.position >= outcome.start
    if outcome.pending is None or outcome.start < outcome.pending.through:
        assert low <= outcome.position <= high
    if not outcome.spool:
        assert outcome.position == outcome.start
    if outcome.pending is not None:
        assert outcome.commit is None, "never committed before it is finished"
        assert outcome.start <= max(outcome.pending.start, chain.head.resume)
    elif not chain.empty:
        assert outcome.start == chain.head.resume
        assert outcome.commit in {None, commit_for(chain)}
