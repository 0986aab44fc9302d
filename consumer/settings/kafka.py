"""`[kafka]` and `[schema_registry]`: addresses, and options that must not break the sink's guarantees."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from consumer.settings.model import KafkaSettings, RegistrySettings
from consumer.settings.problems import Path, Problems
from consumer.settings.registry_options import checked_registry_options
from consumer.settings.tables import OptionValue, as_table, read_options, read_table, require

_COMMITS = "the sink commits by itself, once the objects of a seal are stored; leave it out"
_ASSIGNOR = 'the group uses cooperative-sticky; leave it out, or write "group.protocol" = "consumer"'
FIXED_OPTIONS: Mapping[str, str] = {
    "bootstrap.servers": "write kafka.bootstrap_servers instead",
    "metadata.broker.list": "write kafka.bootstrap_servers instead",
    "group.id": "write kafka.group_id instead",
    "group.instance.id": "write kafka.instance_id instead",
    "enable.auto.commit": _COMMITS,
    "auto.commit.enable": _COMMITS,
    "auto.commit.interval.ms": _COMMITS,
    "enable.auto.offset.store": _COMMITS,
    "auto.offset.reset": "a lost position is never skipped; `start` of a stream sets where a new partition starts",
    "isolation.level": "rows of aborted transactions must not be read; leave it out",
    "enable.partition.eof": "the sink must see where a partition ends; leave it out",
    "partition.assignment.strategy": _ASSIGNOR,
}
"""librdkafka settings that the seal log rests on, and what to do instead."""

_NATIVE = "it runs native code or a program inside the worker, with access to its secrets; leave it out"
_CALLBACK = "it is a callback, not a setting; leave it out"
REFUSED_OPTIONS: Mapping[str, str] = {
    "plugin.library.paths": _NATIVE,
    "sasl.kerberos.kinit.cmd": _NATIVE,
    "ssl.engine.location": _NATIVE,
    "ssl.engine.id": _NATIVE,
    "ssl.engine.callback.data": _NATIVE,
    "ssl.providers": _NATIVE,
    "default.topic.config": "write topic options with the others",
    **dict.fromkeys(
        ("oauth_cb", "error_cb", "stats_cb", "throttle_cb", "log_cb", "rebalance_cb", "offset_commit_cb", "consume_cb"),
        _CALLBACK,
    ),
    **dict.fromkeys(
        ("on_commit", "logger", "opaque", "socket_cb", "connect_cb", "open_cb", "closesocket_cb"), _CALLBACK
    ),
}
"""Options that the client library accepts, but that may not be set."""

IAM_SIGNER = "aws_msk_iam_sasl_signer"
"""The package of the extra `msk-iam`."""
_MSK_BROKER = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.(?:amazonaws\.com|api\.aws)", re.IGNORECASE)

_CLASSIC_ONLY = ("session.timeout.ms", "heartbeat.interval.ms", "group.protocol.type")


def read_kafka(raw: object, problems: Problems, region: str) -> KafkaSettings:
    """The table `[kafka]`. `region` is the AWS region if neither the table nor the brokers' names have one."""
    path = ("kafka",)
    given = as_table(raw, path, problems)
    options = read_options(given.pop("options", None), (*path, "options"), problems)
    table = read_table(KafkaSettings, given, path, problems)
    require("bootstrap_servers", table, path, problems)
    require("group_id", table, path, problems)
    _refuse_fixed(options, (*path, "options"), problems)
    if table.auth:
        _check_iam(options, problems)
        found = table.region or _region_of(table.bootstrap_servers) or region
        if not found:
            problems.add((*path, "region"), 'is not known; write the region of the brokers, e.g. "eu-central-1"')
        table = table.model_copy(update={"region": found})
    else:
        _check_tokens(options, problems)
    return table.model_copy(update={"options": options})


def _check_iam(options: Mapping[str, OptionValue], problems: Problems) -> None:
    """What `kafka.auth` sets may not be set as well; and tokens need their package."""
    if find_spec(IAM_SIGNER) is None:
        problems.add(
            ("kafka", "auth"), '"msk-iam" needs a package that is not installed; pip install "adapty-sink[msk-iam]"'
        )
    for name in options:
        if name.startswith(("sasl.", "enable.sasl.")):
            problems.add(("kafka", "options", name), 'is set by kafka.auth = "msk-iam"; leave it out')
    if str(options.get("security.protocol", "SASL_SSL")).upper() != "SASL_SSL":
        problems.add(
            ("kafka", "options", "security.protocol"), 'is "SASL_SSL" with kafka.auth = "msk-iam"; leave it out'
        )


def _region_of(servers: str) -> str:
    """The region in the names of MSK brokers; "" for other names."""
    found = _MSK_BROKER.search(servers)
    return found[1] if found else ""


def _check_tokens(options: Mapping[str, OptionValue], problems: Problems) -> None:
    """OAUTHBEARER without a source of tokens never connects, and the client does not say why."""
    for name in ("sasl.mechanism", "sasl.mechanisms"):
        if str(options.get(name, "")).upper() != "OAUTHBEARER":
            continue
        by_oidc = str(options.get("sasl.oauthbearer.method", "")).lower() == "oidc"
        unsecured = str(options.get("enable.sasl.oauthbearer.unsecure.jwt", "")).lower() == "true"
        if not (by_oidc or unsecured):
            problems.add(
                ("kafka", "options", name),
                'has no source of tokens; write kafka.auth = "msk-iam" instead, or "sasl.oauthbearer.method" = "oidc"'
                " with its client and URL",
            )


def _refuse_fixed(options: Mapping[str, OptionValue], path: Path, problems: Problems) -> None:
    for name in options:
        if name in FIXED_OPTIONS:
            problems.add((*path, name), f"cannot be overridden: {FIXED_OPTIONS[name]}")
        if name in REFUSED_OPTIONS:
            problems.add((*path, name), f"cannot be set: {REFUSED_OPTIONS[name]}")
    protocol = options.get("group.protocol", "classic")
    if str(protocol).lower() not in {"classic", "consumer"}:
        problems.add((*path, "group.protocol"), 'is not known; write "classic" or "consumer"')
    if str(protocol).lower() == "consumer":
        for name in set(options).intersection(_CLASSIC_ONLY):
            problems.add((*path, name), 'is set by the brokers under "group.protocol" = "consumer"; leave it out')


def read_registry(raw: object, problems: Problems) -> RegistrySettings | None:
    """The table `[schema_registry]`, or None if there is none."""
    if raw is None:
        return None
    path = ("schema_registry",)
    given: dict[str, Any] = as_table(raw, path, problems)
    options = read_options(given.pop("options", None), (*path, "options"), problems)
    table = read_table(RegistrySettings, given, path, problems)
    require("url", table, path, problems)
    if "url" in options:
        problems.add((*path, "options", "url"), "cannot be overridden: write schema_registry.url instead")
    urls, users = _without_users(table.url)
    if users and "basic.auth.user.info" in options:
        problems.add(
            (*path, "url"), "contains a user, and so does the option basic.auth.user.info; leave one of them out"
        )
    if len(users) > 1:
        problems.add((*path, "url"), "contains different users; write one of them in the option basic.auth.user.info")
    if users:
        options["basic.auth.user.info"] = SecretStr(users[0])
    options = checked_registry_options(options, (*path, "options"), problems)
    return table.model_copy(update={"url": urls, "options": options})


def _without_users(urls: str) -> tuple[str, list[str]]:
    """The URLs without `user:password@`, and what stood there, once each."""
    users: dict[str, None] = {}
    plain = []
    for url in urls.split(","):
        userinfo, at, host = urlsplit(url).netloc.rpartition("@")
        if at:
            users[unquote(userinfo)] = None
        plain.append(url.replace(f"{userinfo}@{host}", host, 1) if at else url)
    return ",".join(plain), list(users)
