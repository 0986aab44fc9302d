"""The shipped kinds of stream as data: columns from `schemas/*.avsc`, and what an Avro schema cannot express.

A user-defined stream has the kind `CUSTOM`: any record schema and a time field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

CUSTOM = "custom"
INSTALL_DATE = "install_date"
HISTORICAL_BEFORE = "historical_before"
ATTRIBUTES = "attributes"
ATTRIBUTES_ALIAS = "user_attributes"
INTEGRATION_IDS = "integration_ids"

SUBSCRIPTION_EVENTS = frozenset(
    {
        "access_level_updated",
        "billing_issue_detected",
        "entered_grace_period",
        "non_subscription_purchase",
        "non_subscription_purchase_refunded",
        "subscription_active",
        "subscription_deferred",
        "subscription_expired",
        "subscription_paused",
        "subscription_refunded",
        "subscription_renewal_cancelled",
        "subscription_renewal_reactivated",
        "subscription_renewed",
        "subscription_started",
        "trial_active",
        "trial_converted",
        "trial_expired",
        "trial_renewal_cancelled",
        "trial_renewal_reactivated",
        "trial_started",
    }
)
"""The event types that Adapty publishes. The list is open: others are exported and counted."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A shipped kind.

    `historical` is the column that `exclude_historical` compares the time field with, or "". `event_types` are the
    published ones, empty if the kind has no such list. `aliases` maps a column to further input names. `json_columns`
    have JSON text; `attributes` and `integration_ids` say whether that column can be appended; both are personal.
    """

    name: str
    time_field: str
    aliases: Mapping[str, tuple[str, ...]]
    json_columns: frozenset[str]
    historical: str
    attributes: bool
    integration_ids: bool
    event_types: frozenset[str]

    @property
    def schema(self) -> str:
        """The text of the shipped Avro schema."""
        return _schema_text(self.name)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            name="events",
            time_field="event_datetime",
            aliases={"profile_county": ("profile_country",), ATTRIBUTES: (ATTRIBUTES_ALIAS,)},
            json_columns=frozenset({ATTRIBUTES, INTEGRATION_IDS}),
            historical=INSTALL_DATE,
            attributes=True,
            integration_ids=True,
            event_types=SUBSCRIPTION_EVENTS,
        ),
        Kind(
            name="paywall_views",
            time_field="paywall_showed_at",
            aliases={},
            json_columns=frozenset(),
            historical=INSTALL_DATE,
            attributes=False,
            integration_ids=False,
            event_types=frozenset(),
        ),
        Kind(
            name="ua_events",
            time_field="event_datetime",
            aliases={ATTRIBUTES: (ATTRIBUTES_ALIAS,)},
            json_columns=frozenset({"custom_parameters", ATTRIBUTES}),
            historical=HISTORICAL_BEFORE,
            attributes=True,
            integration_ids=False,
            event_types=SUBSCRIPTION_EVENTS | {"install"},
        ),
        Kind(
            name="ua_campaign_metrics",
            time_field="date",
            aliases={},
            json_columns=frozenset(),
            historical="",
            attributes=False,
            integration_ids=False,
            event_types=frozenset(),
        ),
    )
}

_OWN = Kind(
    name=CUSTOM,
    time_field="",
    aliases={},
    json_columns=frozenset(),
    historical=INSTALL_DATE,
    attributes=False,
    integration_ids=False,
    event_types=frozenset(),
)


def kind_of(name: str) -> Kind:
    """The shipped kind with this name, or that of user-defined streams. Raises KeyError for an unknown kind."""
    return _OWN if name == CUSTOM else KINDS[name]


@cache
def _schema_text(name: str) -> str:
    """From the package if it is installed as a wheel, otherwise from the checkout."""
    here = Path(__file__).resolve().parents[1]
    packaged, checkout = here / "_schemas", here.parent / "schemas"
    folder = packaged if packaged.is_dir() else checkout
    return (folder / f"{name}.avsc").read_text(encoding="utf-8")
