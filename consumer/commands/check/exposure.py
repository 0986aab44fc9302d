"""`check`: what others on the network or this machine could read."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping

from consumer.commands.check.line import Line, warning
from consumer.settings.model import DestinationSettings, KafkaSettings, RegistrySettings, Settings, SpoolSettings


def exposure_lines(settings: Settings) -> Iterator[Line]:
    """One warning for each secret that goes in plain text, each peer that is not verified, each folder of others."""
    yield from _kafka(settings.kafka)
    if settings.schema_registry is not None:
        yield from _registry(settings.schema_registry)
    for destination in {stream.destination.endpoint_url: stream.destination for stream in settings.streams}.values():
        yield from _destination(destination)
    yield from _spool(settings.spool)


def _kafka(kafka: KafkaSettings) -> Iterator[Line]:
    options: Mapping[str, str] = kafka.plain_options()
    if options.get("security.protocol", "").upper() == "SASL_PLAINTEXT":
        yield warning(
            "kafka",
            "plain text",
            "security.protocol is SASL_PLAINTEXT: password and records cross the network in plain text",
            "use SASL_SSL",
        )
    off = options.get("enable.ssl.certificate.verification", "").lower() == "false"
    if off or options.get("ssl.endpoint.identification.algorithm", "").lower() == "none":
        yield warning(
            "kafka",
            "verification",
            "the brokers' certificates are not verified: anyone on the network path can pose as a broker",
            "remove the option, and set ssl.ca.location to the CA certificate",
        )


def _registry(registry: RegistrySettings) -> Iterator[Line]:
    options = registry.plain_options()
    secret = any(name.startswith(("basic.auth.", "bearer.auth.")) for name in options)
    if secret and any(url.strip().startswith("http://") for url in registry.url.split(",")):
        yield warning(
            f"registry {registry.url}",
            "plain text",
            "its password crosses the network in plain text",
            "use https in schema_registry.url",
        )
    if options.get("ssl.ca.location") is False:
        yield warning(
            f"registry {registry.url}",
            "verification",
            "its certificate is not verified: anyone on the network path can pose as the registry",
            "set ssl.ca.location to the CA certificate",
        )


def _destination(destination: DestinationSettings) -> Iterator[Line]:
    if destination.endpoint_url.startswith("http://"):
        yield warning(
            f"destination {destination.url}",
            "plain text",
            f"rows cross the network to {destination.endpoint_url} in plain text",
            "use https in destination.endpoint_url",
        )


def _spool(spool: SpoolSettings) -> Iterator[Line]:
    try:
        mode = stat.S_IMODE(spool.directory.stat().st_mode)
    except OSError:
        return  # it is made with 0700, or another line tells what is wrong with it
    if mode & 0o077:
        yield warning(
            f"spool {spool.directory}",
            "mode",
            f"its mode is {mode:04o}: other users of this machine can list it, or put files there",
            f"chmod 0700 {spool.directory}",
        )
