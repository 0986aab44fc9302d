"""The records of the demo's apps and ad platforms: one event, view, attribution or report as fields.

Fields are made up, in the forms of Adapty's documentation. Every choice comes from the given generator.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

Fields = dict[str, Any]

COUNTRIES = (("CH", "CHF", 0.9), ("DE", "EUR", 0.92), ("US", "USD", 1.0), ("AR", "ARS", 924.5), ("JP", "JPY", 157.4))
DEVICES = ("iPhone 14 Pro", "iPhone 15", "SM-G990E", "Pixel 8", 'iPad Pro 11"')
PRODUCTS = (("weekly_8.99", 8.99), ("monthly_14.99", 14.99), ("yearly_59.99", 59.99))
PAYWALLS = (
    "[iOS] weekly $9.99 (trial / no trial) + yearly $59.99 + toggle [5sec CLOSE DELAY]",
    'Summer "last chance", 50 % off',
    "Два шага, затем оплата 🎉",
    "First line\nSecond line",
)
EVENT_TYPES = (
    "subscription_renewed",
    "subscription_started",
    "trial_started",
    "trial_converted",
    "subscription_expired",
    "subscription_refunded",
    "Subscription_Renewed ",
)
CAMPAIGNS = tuple(
    (str(120209639320320333 + 7 * number), name, platform)
    for number, (name, platform) in enumerate(
        (name, platform)
        for platform in ("Meta", "TikTok", "Google Ads")
        for name in ("Rest of the world", "Fit_333 - nenue - v2", "Keywords 1.12", "Retargeting, 7 days")
    )
)
USER_AGENT = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile"


@dataclass(frozen=True, slots=True)
class Profile:
    """One user of the app."""

    profile_id: str
    customer: str | None
    installed: datetime
    country: str
    currency: str
    rate: float
    device: str
    campaign: tuple[str, str, str]

    @property
    def apple(self) -> bool:
        """Whether the app came from the App Store."""
        return self.device.startswith("iP")

    @property
    def store(self) -> str:
        """Where the app came from."""
        return "app_store" if self.apple else "play_store"


def profiles(random: Random, count: int, before: datetime) -> list[Profile]:
    """Users who installed the app in the two months before."""
    return [
        Profile(
            uuid(random),
            random.choice((None, f"user-{random.getrandbits(40):x}")),
            before - timedelta(seconds=random.randrange(60 * 86_400)),
            *random.choice(COUNTRIES),
            random.choice(DEVICES),
            random.choice(CAMPAIGNS),
        )
        for _ in range(count)
    ]


def uuid(random: Random) -> str:
    """A random UUID."""
    return str(UUID(int=random.getrandbits(128), version=4))


def event(random: Random, user: Profile, at: datetime) -> Fields:
    """A subscription event, 44 fields."""
    product, price = random.choice(PRODUCTS)
    kind = random.choice(EVENT_TYPES)
    gross = {"subscription_refunded": -price, "trial_started": None, "subscription_expired": 0.0}.get(kind, price)
    transaction = str(random.randrange(10**15, 10**16))
    return {
        "profile_id": user.profile_id,
        "event_type": kind,
        "event_datetime": at,
        "transaction_id": transaction,
        "original_transaction_id": transaction,
        "subscription_expires_at": at + timedelta(days=7),
        "environment": "Production",
        **_money(gross, user.rate),
        "cancellation_reason": "refund" if kind == "subscription_refunded" else None,
        "customer_user_id": user.customer,
        "store": user.store,
        "product_id": product,
        "base_plan_id": None if user.apple else "p1w",
        "developer_id": "onboarding_placement",
        "ab_test_name": "onboarding_ab_test",
        "ab_test_revision": 1,
        "paywall_name": random.choice(PAYWALLS),
        "paywall_revision": random.randint(1, 4),
        "profile_county": user.country,
        "install_date": user.installed,
        "idfv": uuid(random).upper() if user.apple else None,
        "idfa": "00000000-0000-0000-0000-000000000000" if user.apple else None,
        "advertising_id": "" if user.apple else uuid(random),
        "ip_address": "2001:db8:60b:1f68:95ed:f00c:3333:ac0d",
        "android_app_set_id": None,
        "android_id": None if user.apple else "1234e567",
        "device": user.device,
        "currency": user.currency,
        "store_country": user.country,
        **attribution(user),
    }


def _money(gross: float | None, rate: float) -> Fields:
    """Revenue in dollars and in the local currency, before and after the store's share and tax."""
    shares = {"revenue": 1.0, "proceeds": 0.85, "net_revenue": 0.7863, "tax_amount": 0.0637}
    found: Fields = {}
    for name, share in shares.items():
        found[f"{name}_usd"] = None if gross is None else gross * share
        found[f"{name}_local"] = None if gross is None else gross * share * rate
    return found


def attribution(user: Profile) -> Fields:
    """Where the user came from."""
    campaign, name, platform = user.campaign
    return {
        "attribution_source": "appsflyer",
        "attribution_network_user_id": f"{campaign[:13]}-{campaign}",
        "attribution_status": "non_organic",
        "attribution_channel": f"{platform} Ads",
        "attribution_campaign": name,
        "attribution_ad_group": None,
        "attribution_ad_set": "Keywords 1.12",
        "attribution_creative": campaign,
    }


def view(random: Random, user: Profile, at: datetime) -> Fields:
    """A paywall that was shown, as a webhook writes it: instants as text, a revision as text."""
    return {
        "profile_id": user.profile_id,
        "customer_user_id": user.customer,
        "profile_country": user.country,
        "install_date": user.installed.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
        "store": user.store,
        "paywall_showed_at": at.strftime("%Y-%m-%dT%H:%M:%S.%f+0000"),
        "developer_id": "onboarding_placement",
        "ab_test_name": None,
        "paywall_name": random.choice(PAYWALLS),
        "paywall_revision": str(random.randint(1, 4)),
    }


def install(random: Random, user: Profile, at: datetime) -> Fields:
    """An attributed install or conversion, 38 fields."""
    campaign, name, platform = user.campaign
    value = random.choice((None, 8.99, 59.99))
    return {
        "profile_id": user.profile_id,
        "event_type": "install" if value is None else "subscription_started",
        "event_datetime": at,
        "campaign_id": campaign,
        "campaign_name": name,
        "adset_id": campaign[:12],
        "adset_name": "Keywords 1.12",
        "ad_id": campaign[::-1],
        "ad_name": f"Video {random.randint(1, 9)}",
        "platform": platform,
        **attribution(user),
        "click_datetime": user.installed - timedelta(minutes=random.randint(1, 600)),
        "install_datetime": user.installed,
        "conversion_datetime": None if value is None else at,
        "conversion_type": None if value is None else "subscription_started",
        "conversion_value_usd": value,
        "conversion_value_local": None if value is None else value * user.rate,
        "currency": user.currency,
        "country": user.country,
        "device_type": "iOS" if user.apple else "Android",
        "os_version": "17.10",
        "app_version": "3.2.0",
        "user_agent": USER_AGENT,
        "ip_address": "192.0.2.17",
        "idfa": None,
        "idfv": None,
        "advertising_id": None,
        "android_id": None,
        "android_app_set_id": None,
        "device": user.device,
        "custom_parameters": json.dumps({"variant": random.choice("AB"), "screens": [1, 2]}, separators=(",", ":")),
    }


def report(random: Random, campaign: Sequence[str], day: date, hour: int) -> Fields:
    """An ad platform's report of a campaign's day so far."""
    number, name, platform = campaign
    impressions = 1_000 * hour + random.randrange(1_000)
    clicks, installs = impressions // 40, impressions // 900
    spend = clicks * 0.37
    return {
        "campaign_id": number,
        "campaign_name": name,
        "adset_id": None,
        "adset_name": None,
        "ad_id": None,
        "ad_name": None,
        "platform": platform,
        "date": day,
        "impressions": impressions,
        "clicks": clicks,
        "installs": installs,
        "conversions": installs // 3,
        "spend_usd": spend,
        "spend_local": spend * 0.92,
        "cpi_usd": spend / installs if installs else None,
        "cpc_usd": spend / clicks if clicks else None,
        "cpm_usd": spend / impressions * 1_000 if impressions else None,
        "ctr": clicks / impressions if impressions else None,
        "icr": installs / clicks if clicks else None,
        "ipm": installs / impressions * 1_000 if impressions else None,
        "ltv_usd": 1.97,
    }
