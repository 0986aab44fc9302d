"""What an erasure does not reach: copies made by other commands, and records that never became rows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from consumer.replace.services import Scope, Services
from consumer.seal.keys import day_within, export_key, quarantine_folder, replacement_prefix


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Keys by kind. `versioned`: the bucket keeps the bodies that were replaced as noncurrent versions."""

    kept: tuple[str, ...]
    exports: tuple[str, ...]
    quarantine: tuple[str, ...]
    versioned: bool

    def to_json(self) -> dict[str, Any]:
        """The entry under `left`."""
        return asdict(self)


def leftovers_of(services: Services, scope: Scope) -> Leftovers:
    """Find what may still contain rows of these days."""
    kept = [key for key in _keys(services, replacement_prefix(services.stream)) if "/old/" in key]
    quarantine = _keys(services, quarantine_folder(services.stream))
    newest = services.ask(services.log.read).newest
    heads = (services.ask(lambda: services.store.head(key)) for key in newest)  # noqa: B023 - called at once
    return Leftovers(
        kept=tuple(key for key in kept if _inside(key, scope)),
        exports=tuple(_keys(services, export_key(services.stream, ""))),
        quarantine=tuple(key for key in quarantine if _inside(key, scope)),
        versioned=any(facts is not None and facts.version_id for facts in heads),
    )


def _keys(services: Services, prefix: str) -> list[str]:
    return services.ask(lambda: [facts.key for facts in services.store.list(prefix)])


def _inside(key: str, scope: Scope) -> bool:
    day = day_within(key)
    return day is not None and day in scope
