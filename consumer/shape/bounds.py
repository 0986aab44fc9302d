"""How much is made of one batch at a time. Bytes are no limit: a few can ask for a large row, or a slow one.

A larger batch is refused as a whole (TooVariousError), and halved; a single record never is. The result for a record
depends only on the record, so that halves give the same rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from consumer.domain.batches import RawBatch, RowTransformer, TransformedBatch, TransformOptions
from consumer.domain.errors import TooVariousError
from consumer.domain.joined import joined

MOST_OUTPUT = 64 * 1024 * 1024
"""Bytes of rows that one batch may become."""
SLOWER = 4
"""The exact engine may write this part of that (one over it): a byte takes it several times as long."""
MOST_EXACT = 3_000
"""Records of one batch in the exact engine: about a fifth of a second for ordinary ones."""
ORDINARY = 30
"""Values of such a record; a wider one counts as several."""
MOST_VALUES = 15_000_000
"""Values of one batch that the native engine goes over, with bytes or without: about a third of a second."""
MOST_DAYS = 512
"""Days that one batch puts into the spool, quarantine included: each is a file that is opened and appended to, for 0.1
to 0.3 milliseconds. Smaller batches of more days cost more: they append to as many files for fewer rows."""
OUTPUT_OF_JSON = 40
"""Bytes of a row for each byte of JSON, at most: `"a":1e308,` becomes 311 digits."""
OUTPUT_OF_TEXT = 2
"""The same for text, whose quotes are doubled."""
WIDEST: Mapping[str, int] = {
    "text": 0,
    "bytes": 0,
    "null": 0,
    "boolean": 5,
    "long": 62,
    "float": 62,
    "double": 332,
    "uuid": 36,
}
"""Bytes of the widest cell of an Avro value by its type, in addition to those from its own bytes."""
NESTED = 16 << 10
"""The same of a list, map or record: names and symbols in it, as the decoders bound them."""
WIDEST_OTHER = 64
"""The same for instants, days, times and decimals, without their scale."""
WIDEST_TIME = 36
"""A hash of a cell."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits of one batch: bytes of rows, records of the exact engine, values in the native one, days."""

    output: int = sys.maxsize
    exact: int = sys.maxsize
    values: int = sys.maxsize
    days: int = sys.maxsize

    def check_exact(self, batch: RawBatch, records: int, width: int = ORDINARY) -> None:
        """Raise TooVariousError if that many records of the batch, of that many values each, need the exact engine."""
        if records * max(1, width // ORDINARY) > self.exact and len(batch) > 1:
            raise TooVariousError(f"{records:,} of the {len(batch):,} records of one batch are processed one by one")

    def check_width(self, batch: RawBatch, width: int) -> None:
        """Raise TooVariousError if records with that many values each are too many."""
        if len(batch) * width > self.values and len(batch) > 1:
            raise TooVariousError(f"{len(batch):,} records of one batch have {width:,} values each")

    def check_days(self, batch: RawBatch, days: int) -> None:
        """The same for rows, or bad records, of so many days."""
        if days > self.days and len(batch) > 1:
            raise TooVariousError(f"{len(batch):,} records of one batch have {days:,} days")

    def check_exact_output(self, batch: RawBatch, size: int) -> None:
        """The same for what the exact engine wrote so far."""
        self.check_output(batch, size * SLOWER)

    def check_output(self, batch: RawBatch, size: int) -> None:
        """Raise TooVariousError if rows of the batch have, or may have, that many bytes."""
        if size > self.output and len(batch) > 1:
            raise TooVariousError(f"{len(batch):,} records of one batch may become {size >> 20:,} MiB of rows")


UNBOUNDED = Bounds()
TURN = Bounds(MOST_OUTPUT, MOST_EXACT, MOST_VALUES, MOST_DAYS)
"""The limits of the worker's loop between two checks of everything else."""


@dataclass(frozen=True, slots=True)
class InHalves:
    """A transformer that halves batches by itself, for callers that have nothing else to do meanwhile."""

    inner: RowTransformer

    @property
    def columns(self) -> tuple[str, ...]:
        return self.inner.columns

    def transform(self, batch: RawBatch, how: TransformOptions) -> TransformedBatch:
        try:
            return self.inner.transform(batch, how)
        except TooVariousError:
            if len(batch) == 1:
                raise
            return joined([self.transform(half, how) for half in batch.halves()])
