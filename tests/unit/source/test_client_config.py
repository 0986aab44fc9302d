"""Settings of the clients."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka.admin import AdminClient

from consumer.domain.errors import UsageError
from consumer.settings.model import KafkaSettings
from consumer.source.client_config import FIXED, admin_config, consumer_config, try_options


def settings(**options: str) -> KafkaSettings:
    named: dict[str, Any] = {name.replace("_", "."): value for name, value in options.items()}
    return KafkaSettings(bootstrap_servers="127.0.0.1:9", group_id="group", instance_id="one", options=named)


def test_what_the_seal_log_rests_on_is_fixed() -> None:
    config = consumer_config(settings(fetch_min_bytes="1"))
    assert config["enable.auto.commit"] is False
    assert config["enable.auto.offset.store"] is False
    assert config["auto.offset.reset"] == "error"
    assert config["isolation.level"] == "read_committed"
    assert config["enable.partition.eof"] is True
    assert config["partition.assignment.strategy"] == "cooperative-sticky"
    assert config["bootstrap.servers"] == "127.0.0.1:9"
    assert config["group.id"] == "group"
    assert config["fetch.min.bytes"] == "1"


def test_static_membership_is_for_workers_alone() -> None:
    assert consumer_config(settings())["group.instance.id"] == "one"
    assert "group.instance.id" not in consumer_config(settings(), static=False)
    nameless = settings().model_copy(update={"instance_id": ""})
    assert "group.instance.id" not in consumer_config(nameless)


def test_the_newer_protocol_takes_no_assignor() -> None:
    config = consumer_config(settings(group_protocol="Consumer"))
    assert "partition.assignment.strategy" not in config


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_librdkafka_takes_all_of_it(protocol: str) -> None:
    Consumer(consumer_config(settings(group_protocol=protocol))).close()


def test_every_option_that_is_not_the_users_is_named() -> None:
    wrong = [*FIXED, "group.id", "partition.assignment.strategy", "bootstrap.servers"]
    given = settings().model_copy(update={"options": {**dict.fromkeys(wrong, "x"), "client.id": "mine"}})
    with pytest.raises(UsageError) as raised:
        consumer_config(given)
    for name in wrong:
        assert name in str(raised.value)
    assert "client.id" not in str(raised.value)


def test_the_admin_client_gets_security_and_no_consumer_settings() -> None:
    config = admin_config(settings(security_protocol="ssl", group_protocol="consumer", fetch_min_bytes="1"))
    assert config["security.protocol"] == "ssl"
    assert not [name for name in config if name.startswith(("group.", "fetch."))]
    AdminClient(config)


def test_the_admin_client_keeps_a_connection_to_each_broker() -> None:
    """Else it storms a coordinator that is away (docs/reliability.md), whatever the backoff. Users may override it."""
    assert admin_config(settings())["enable.sparse.connections"] is False
    assert admin_config(settings())["metadata.recovery.strategy"] == "none", (
        "it would storm brokers that end connections"
    )
    assert admin_config(settings(enable_sparse_connections="true"))["enable.sparse.connections"] == "true"


def test_the_admin_client_checks_certificates_as_the_options_say() -> None:
    """`enable.` is no mark of consumer settings: without this one, only the worker would trust such a broker."""
    config = admin_config(settings(security_protocol="ssl", enable_ssl_certificate_verification="false"))
    assert config["enable.ssl.certificate.verification"] == "false"
    AdminClient(config)


def test_what_the_client_refuses_is_told_in_the_users_terms() -> None:
    """It names an option of ours, or of its own, that the user has never written."""
    try_options(settings(message_max_bytes="20971520"))
    with pytest.raises(UsageError, match=r"kafka\.options: .*\(kafka\.options has max\.poll\.interval\.ms\)"):
        try_options(settings(max_poll_interval_ms="1000"))
