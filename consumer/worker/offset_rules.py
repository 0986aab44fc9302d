"""Which rules apply to an offset: those of its covering record, otherwise the current ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

from consumer.domain.batches import RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.offsets import Span
from consumer.seal.chain import Chain
from consumer.seal.record import Record, due_by


@dataclass(frozen=True, slots=True)
class OffsetRules:
    """Transforms batches by the rules that a chain has for their offsets.

    Without `only` it shows the rows that no seal took. With it (a pending seal is rebuilt) it shows the rows that this
    seal takes, and nothing from its `through` on. `transformers` are by digest of their settings; `columns` are those
    of the object to be.
    """

    chain: Chain
    transformers: Mapping[str, RowTransformer]
    today: str
    columns: tuple[str, ...]
    only: Record | None = None

    @property
    def end(self) -> int | None:
        """The offset from which on nothing is needed; None if there is no such end."""
        return None if self.only is None else self.only.through

    def transform(
        self, batch: RawBatch, leaves: Callable[[date], bool]
    ) -> Iterator[tuple[TransformedBatch, Record | None]]:
        """Transform the batch piece by piece, each with its covering record; given-up offsets are skipped.

        The text of days that are not wanted, or that `leaves` the spool for lack of space, is not made.
        """
        inner = batch if self.end is None else batch.clip(Span(batch.span.start, self.end))
        for span, covering in self.chain.segments(inner.span):
            digest = self.today if covering is None else covering.settings
            schemas = None if covering is None else covering.schemas

            def wanted(day: date, _quarantine: bool, covering: Record | None = covering) -> bool:  # noqa: FBT001 - the shape of `Wanted`
                return self.wants(day, covering) and not leaves(day)

            how = TransformOptions(self.columns, wanted, schemas)
            for part in self.chain.outside_gaps(span):
                yield self.transformers[digest].transform(inner.clip(part), how), covering

    def wants(self, day: date, covering: Record | None) -> bool:
        """Whether rows of `day` under this covering record are to go into the object to be."""
        if self.only is None:
            return not self.chain.took(day, covering)
        assert covering is not None  # everything below `only.through` is covered
        earlier = self.chain.before(self.only.n)
        taken_before = covering.n < self.only.n and earlier.took(day, covering)
        return due_by(day, self.only.cutoff, covering.sealed_at) and not taken_before
