"""The protocol broken on purpose: the simulation has to catch each break, or it proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache, partial
from typing import Any

import orjson
import pytest

from consumer.domain.offsets import Commit
from consumer.replace import basis as basis_module
from consumer.replace import partition_view as view_module
from consumer.replace import protocol
from consumer.replace import replay as replay_module
from consumer.replace import stored as stored_module
from consumer.seal import day_plan as publication
from consumer.seal import decide, inspection, keys, publisher, recover
from consumer.seal import objects as finish
from consumer.seal.chain import Chain
from consumer.seal.manifest_builder import ManifestBuilder
from consumer.seal.publisher import Publisher
from consumer.seal.record import Record
from consumer.store.port import Absent, BytesBody, Match
from consumer.worker import partition as partition_module
from consumer.worker import recovery_input as survey_module
from consumer.worker import sealing
from consumer.worker.offset_rules import OffsetRules
from consumer.worker.partition import Partition
from tests.simulation import world as world_module
from tests.simulation.oracle import Violation
from tests.simulation.past import run_past
from tests.simulation.rows import SimTransformer
from tests.simulation.schedule import run_schedule

SCHEDULES = 400
"""A break that so many schedules do not show is not caught."""

Break = Callable[[pytest.MonkeyPatch], None]


def commit_before_upload(patch: pytest.MonkeyPatch) -> None:
    upload = sealing.upload

    def early(partition: Partition, *args: Any) -> Any:
        yield from sealing.commit(partition, recover.commit_for(partition.chain))
        yield from upload(partition, *args)

    patch.setattr(sealing, "upload", early)


def no_record(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(sealing, "put_record", lambda partition, record: True)


def record_after_objects(patch: pytest.MonkeyPatch) -> None:
    upload, put_record = sealing.upload, sealing.put_record

    def late(partition: Partition, record: Record, *args: Any) -> Any:
        yield from upload(partition, record, *args)
        yield from partition.ask(lambda: put_record(partition, record))

    patch.setattr(sealing, "put_record", lambda partition, record: True)
    patch.setattr(sealing, "upload", late)


def objects_overwritten(patch: pytest.MonkeyPatch) -> None:
    """Keys by start offset and plain puts, as the usual sink does it."""
    put = world_module.SimStore.put

    def over(self: Any, key: str, body: Any, *, condition: Any, metadata: Any = None) -> Any:
        if key.endswith(".csv") and isinstance(condition, Absent):
            self._bucket._objects.pop(key, None)
        return put(self, key, body, condition=condition, metadata=metadata)

    def cut(key_of: Any) -> Any:
        return lambda stream, day, partition, through, compression: key_of(stream, day, partition, 0, compression)

    patch.setattr(decide, "data_key", cut(keys.data_key))
    patch.setattr(world_module.SimStore, "put", over)


def offset_proves_finished(patch: pytest.MonkeyPatch) -> None:
    def proves(chain: Chain, commit: Commit | None) -> bool:
        seal = chain.last_seal
        return seal is None or (commit is not None and commit.offset >= seal.resume)

    patch.setattr(inspection, "commit_proves", proves)
    patch.setattr(finish.ObjectChecker, "finished", lambda self, record, lossy=False: False)


def metadata_without_identity(patch: pytest.MonkeyPatch) -> None:
    def proves(chain: Chain, commit: Commit | None) -> bool:
        seal = chain.last_seal
        if seal is None or commit is None or not commit.metadata:
            return seal is None
        return int(orjson.loads(commit.metadata)["seal"]) >= seal.n

    patch.setattr(inspection, "commit_proves", proves)


def todays_settings_below_head(patch: pytest.MonkeyPatch) -> None:
    transformer = OffsetRules.transform

    def today(self: OffsetRules, batch: Any, leaves: Any) -> Any:
        transformers = dict.fromkeys(self.transformers, self.transformers[self.today])
        return transformer(replace(self, transformers=transformers), batch, leaves)

    patch.setattr(OffsetRules, "transform", today)


def spill_never_closed(patch: pytest.MonkeyPatch) -> None:
    def lazy(chain: Chain, schedule: Any, now: Any) -> date | None:
        wanted = schedule.cutoff(now)
        return wanted if chain.reach.cutoff is None or wanted > chain.reach.cutoff else None

    patch.setattr(partition_module, "cutoff_to_close", lazy)


def published_on_records_alone(patch: pytest.MonkeyPatch) -> None:
    class Blind:
        def __init__(self, _store: Any) -> None:
            pass

        def finished(self, record: Record, *, lossy: bool = False) -> bool:
            return True

    patch.setattr(publisher, "ObjectChecker", Blind)
    patch.setattr(ManifestBuilder, "_stored", lambda self, entry, known: {"bytes": 0, "sha256": ""})


def cutoff_later_than_end(patch: pytest.MonkeyPatch) -> None:
    seal = sealing.seal

    def late(partition: Partition, cutoff: date, ends: Any, *, caught_up: bool) -> Any:
        cutoff = max(cutoff, partition.context.schedule.cutoff(partition.context.clock.now()))
        yield from seal(partition, cutoff, ends, caught_up=caught_up)

    patch.setattr(sealing, "seal", late)


def gap_without_its_days(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publication, "_gaps", lambda chain: ())


def gap_up_to_the_next_cutoff_alone(patch: pytest.MonkeyPatch) -> None:
    """Rows of the day in which the gap was recorded may be lost as well."""
    gaps = publication._gaps

    def short(chain: Chain) -> Any:
        for reason in gaps(chain):
            closed = [
                r.cutoff for r in chain.records if r.caught_up and r.cutoff and r.cutoff > (reason.after or r.cutoff)
            ]
            yield replace(reason, last=min([*closed, reason.last]) if reason.last else None)

    patch.setattr(publication, "_gaps", short)


def columns_in_the_settings_order(patch: pytest.MonkeyPatch) -> None:
    """What a sink without a list of columns does: each header is that of the settings."""
    patch.setattr(survey_module, "merged", lambda listed, own: own)
    patch.setattr(sealing, "claim_header", lambda partition, record: None)


# Of replacements


def objects_before_the_record(patch: pytest.MonkeyPatch) -> None:
    real = protocol.record_new

    def late(services: Any, seen: Any, record: Any) -> Any:
        for one in record.objects:
            condition = Match(one.former.etag) if one.former else Absent()
            said = {"sha256": one.sha256, "replay": str(len(seen.records))}
            old = services.ask(partial(services.store.get, one.entry.key))
            body = BytesBody(old.data if old else b"id,at\n")
            services.ask(partial(services.store.put, one.entry.key, body, condition=condition, metadata=said))
        return real(services, seen, record)

    patch.setattr(replay_module, "record_new", late)
    patch.setattr(stored_module, "record_new", late)


def manifest_without_the_word(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Publisher, "mark", lambda self, day, n: None)


def row_across_the_border(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(replay_module, "refuse_crossing", lambda first, last, days: None)


def undo_races_a_second_replay(patch: pytest.MonkeyPatch) -> None:
    """Whoever comes second puts its record all the same: what its plan saw is not what lies there."""
    real = protocol.refuse_overlap

    def blind(*args: Any, seen: int | None = None) -> None:
        if seen is None:
            real(*args)

    patch.setattr(protocol, "refuse_overlap", blind)


def erasures_resurrected(patch: pytest.MonkeyPatch) -> None:
    for module in (basis_module, view_module, stored_module):
        patch.setattr(module, "erasures", lambda records, day, partition: ())


def manifest_over_a_replaying_one(patch: pytest.MonkeyPatch) -> None:
    """A worker that publishes a day leaves the word out, which is the replacement's to take."""
    patch.setattr(publisher, "_ends", lambda ending, day, n: True)


def body_not_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(protocol, "_keep", lambda services, record, one: None)


def todays_key_below_head(patch: pytest.MonkeyPatch) -> None:
    """The key was rotated while a seal was pending, and the worker restarted."""
    transform = OffsetRules.transform

    def today(self: OffsetRules, batch: Any, leaves: Any) -> Any:
        own: Any = self.transformers  # the simulation's own
        privacy = own[self.today]._rules.privacy
        made = {d: SimTransformer(replace(one._rules, privacy=privacy), one._registry) for d, one in own.items()}
        return transform(replace(self, transformers=made), batch, leaves)

    patch.setattr(OffsetRules, "transform", today)


PAST_BREAKS: dict[Break, int] = {
    objects_before_the_record: 2,
    manifest_without_the_word: 2,
    manifest_over_a_replaying_one: 4,
    row_across_the_border: 25,
    undo_races_a_second_replay: 60,
    erasures_resurrected: 2,
    body_not_kept: 2,
    todays_key_below_head: 1,
}
"""The same of schedules in which stored days are replaced."""

BREAKS: dict[Break, int] = {
    commit_before_upload: 1,
    no_record: 0,
    record_after_objects: 0,
    objects_overwritten: 0,
    offset_proves_finished: 0,
    metadata_without_identity: 16,
    todays_settings_below_head: 0,
    spill_never_closed: 8,
    published_on_records_alone: 1,
    cutoff_later_than_end: 13,
    gap_without_its_days: 32,
    gap_up_to_the_next_cutoff_alone: 32,
    columns_in_the_settings_order: 0,
}
"""Each break, and the first schedule that showed it when this was written: a place to begin."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.__name__)
def test_the_simulation_catches(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    see_sound(run_schedule, BREAKS[broken])
    broken(monkeypatch)
    with pytest.raises(Violation):
        run_many(BREAKS[broken])


@pytest.mark.timeout(900)
@pytest.mark.parametrize("broken", PAST_BREAKS, ids=lambda broken: broken.__name__)
def test_the_simulation_of_replacements_catches(broken: Break, monkeypatch: pytest.MonkeyPatch) -> None:
    see_sound(run_past, PAST_BREAKS[broken])
    broken(monkeypatch)
    with pytest.raises(Violation):
        run_many(PAST_BREAKS[broken], run_past)


@cache
def see_sound(run: Callable[[int], object], seed: int) -> None:
    """Without a break the schedule shows none: looked at once for all breaks that it shows."""
    run(seed)


def run_many(first: int, run: Callable[[int], object] = run_schedule) -> None:
    for seed in range(first, first + SCHEDULES):
        run(seed)
