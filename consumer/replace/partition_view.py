"""One partition as a replacement sees it: its chain, and the contents of each key of the given days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from consumer.domain.compression import Compression
from consumer.domain.offsets import Span, TopicPartition
from consumer.replace.basis import Basis, basis_of, erasures
from consumer.replace.services import Scope, Services
from consumer.seal.chain import Chain
from consumer.seal.day_plan import PartitionState
from consumer.seal.keys import data_key, seal_of
from consumer.seal.lossy import lossy_objects
from consumer.seal.record import ObjectEntry, Record, RecordKind
from consumer.seal.replacements.log import Listed, Replacements


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as it is by the logs: its rows, `settings` and `columns` for its header, how its rows were made."""

    entry: ObjectEntry
    settings: str
    columns: int | None
    basis: Basis


@dataclass(frozen=True)
class PartitionView:
    """`objects` are those of the given days, by key; `beyond` is how replaced objects of all other days were made."""

    partition: TopicPartition
    stream: str
    chain: Chain
    scope: Scope
    objects: Mapping[str, StoredObject]
    keys: Mapping[tuple[int, date], str]
    beyond: Mapping[tuple[int, date], Basis]
    replacements: Replacements
    today: str
    compression: Compression

    def key(self, offset: int, day: date) -> str | None:
        """The object that has, or would have, a row of this day; None for one that no seal took, or out of scope."""
        if day not in self.scope:
            return None
        seal = self.chain.taker(offset, day)
        if seal is None:
            return None
        known = self.keys.get((seal.n, day))
        return known or data_key(self.stream, day, self.partition, seal.through, self.compression)

    def basis(self, key: str) -> Basis:
        """How the rows under this key were made, those included that were dropped."""
        known = self.objects.get(key)
        return known.basis if known else Basis()

    @cached_property
    def settings_beyond(self) -> frozenset[str | None]:
        """The settings by which rows of days out of scope were made; None: the covering ones."""
        return frozenset({None, *(basis.settings for basis in self.beyond.values())})

    def stands_beyond(self, offset: int, day: date, settings: str | None) -> bool:
        """Whether a row that has this day by these settings is in that day, or will be, and the day is out of scope."""
        if day in self.scope:
            return False
        seal = self.chain.taker(offset, day)
        basis = self.beyond.get((seal.n, day)) if seal is not None else None
        return settings == (basis.settings if basis is not None else None)

    def basis_anew(self, day: date) -> Basis:
        """How rows of this day are made with the current rules: recorded erasures apply to all later rows."""
        return Basis(self.today, erasures(self.replacements.records, day, self.partition.partition))

    def spans(self, start: int) -> list[Span]:
        """What there is to read from `start` to the chain's head, without what was given up as lost."""
        return list(self.chain.outside_gaps(Span(start, self.chain.head.through)))


def views_of(
    services: Services, scope: Scope, replacements: Replacements, chains: Sequence[Chain]
) -> list[PartitionView]:
    """The partitions of these chains, as this state of the replacement log has them. Their last seals are finished."""
    states = [PartitionState(chain.head.partition.partition, chain, finished=True) for chain in chains]
    lossy = services.ask(lambda: lossy_objects(services.store, states))
    return [_view(services, scope, replacements, chain, lossy) for chain in chains]


def _view(
    services: Services, scope: Scope, replacements: Replacements, chain: Chain, lossy: Mapping[str, ObjectEntry]
) -> PartitionView:
    """`lossy` are objects that a gap left with fewer rows."""
    partition = chain.head.partition
    objects: dict[str, StoredObject] = {}
    keys: dict[tuple[int, date], str] = {}
    beyond: dict[tuple[int, date], Basis] = {}
    for record in chain.records:
        for entry in record.objects:
            if not entry.quarantine and entry.day in scope:
                keys[(record.n, entry.day)] = entry.key
                listed = replacements.listed.get(entry.key, ())
                objects[entry.key] = _stored(record, lossy.get(entry.key, entry), listed, replacements)
    for key, listed in replacements.listed.items():
        newest = listed[-1].new
        if key in objects or newest.partition != partition.partition:
            continue
        seal = _seal_of(chain, key)
        if seal is not None and newest.entry.day not in scope:
            beyond[(seal.n, newest.entry.day)] = basis_of(listed, replacements)
        elif seal is not None:
            keys[(seal.n, newest.entry.day)] = key
            objects[key] = _stored(seal, newest.entry, listed, replacements)
    return PartitionView(
        partition,
        services.stream,
        chain,
        scope,
        objects,
        keys,
        beyond,
        replacements,
        services.today.digest,
        services.compression,
    )


def _stored(record: Record, entry: ObjectEntry, listed: Sequence[Listed], replacements: Replacements) -> StoredObject:
    if not listed:
        return StoredObject(entry, record.settings, record.columns, Basis())
    new = listed[-1].new
    return StoredObject(new.entry, new.settings, new.columns, basis_of(listed, replacements))


def _seal_of(chain: Chain, key: str) -> Record | None:
    _, through = seal_of(key.rpartition("/")[2]) or (None, None)
    seals = (record for record in chain.records if record.kind is RecordKind.SEAL)
    return next((record for record in seals if record.through == through), None)
