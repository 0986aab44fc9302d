"""TLS and SASL against a real broker: what docs/security.md says to write works, and what is wrong is said."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # exported there, but not in the way mypy wants it
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from tests.conftest import _or_missing
from tests.harness.sink import Sink, await_true, closing
from tests.harness.toml import toml
from tests.integration.commands import Ended, command
from tests.integration.observed import SCHEMA, clicks, noon, send
from tests.services.certificates import Authority
from tests.services.kafka import SECURE_LISTENERS, Kafka, secure_properties, unique_topic

PASSWORD = "correct-horse-9f3b"  # noqa: S105 - of a broker that lives for this test
WRONG = "wrong-battery-2c7d"
TOPIC_CONFIG = {"retention.ms": "604800000", "message.timestamp.after.max.ms": "3600000"}
Options = Mapping[str, str | bool]


@dataclass(frozen=True, slots=True)
class Site:
    """A broker with secure listeners, its authority, and one that nobody trusts."""

    kafka: Kafka
    ours: Authority
    foreign: Authority
    client: Path
    stranger: Path

    def mtls(self, **changes: str) -> Options:
        """A client's certificate, as docs/security.md has it."""
        return {
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.ours.file),
            "ssl.certificate.location": str(self.client),
            "ssl.key.location": str(self.client),
        } | {name.replace("_", "."): value for name, value in changes.items()}

    def sasl(self, mechanism: str = "SCRAM-SHA-512", **changes: str | bool) -> Options:
        """A user's password over TLS."""
        return {
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.ours.file),
            "sasl.mechanism": mechanism,
            "sasl.username": "sink",
            "sasl.password": "${SINK_PASSWORD}",
        } | {name.replace("_", "."): value for name, value in changes.items()}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls")
    ours, foreign = Authority(folder / "ours"), Authority(folder / "foreign", "Another CA")
    extra = secure_properties(ours.issue("broker"), ours.file, {"sink": PASSWORD})
    kafka = Kafka(folder / "kafka", extra=extra, listeners=SECURE_LISTENERS)
    try:
        _or_missing(kafka.start)
        user = UserScramCredentialUpsertion(
            "sink", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), PASSWORD.encode()
        )
        admin = kafka.admin()  # a client that nobody holds is destroyed before it answers
        admin.alter_user_scram_credentials([user])["sink"].result(30)
        yield Site(kafka, ours, foreign, ours.issue("client"), foreign.issue("stranger"))
    finally:
        kafka.stop()


def settings(folder: Path, site: Site, listener: str, options: Options, topic: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "clicks.avsc").write_text(json.dumps(SCHEMA))
    tables: dict[str, Any] = {
        "kafka": {"bootstrap_servers": site.kafka.listener(listener), "group_id": topic, "options": dict(options)},
        "destination": {"url": (folder / "out").as_uri()},
        "spool": {"directory": str(folder / "spool"), "min_free_bytes": 1000, "max_bytes": "1MiB"},
        "schedule": {"give_up_after": "2s"},
        "http": {"listen": ""},
        "streams": {"clicks": {"topic": topic, "schema": "clicks.avsc", "time_field": "clicked_at", "format": "json"}},
    }
    path = folder / "sink.toml"
    path.write_text(toml(tables))
    return path


def run(path: Path, *arguments: str, password: str = PASSWORD) -> Ended:
    return command(path, *arguments, env={"SINK_PASSWORD": password}, seconds=60)


def good(site: Site, name: str) -> tuple[str, Options]:
    return {
        "mtls": ("MTLS", site.mtls()),
        "scram": ("SASL", site.sasl()),
        "plain": ("SASL", site.sasl("PLAIN")),
        "unchecked": (
            "SASL",
            site.sasl(ssl_ca_location=str(site.foreign.file), enable_ssl_certificate_verification=False),
        ),
    }[name]


@pytest.mark.parametrize("name", ["mtls", "scram", "plain", "unchecked"])
def test_check_and_worker_go_through(site: Site, tmp_path: Path, name: str) -> None:
    """`unchecked` has another authority, and says that nobody is to look: the questions obey that, too."""
    topic = unique_topic("clicks")
    site.kafka.create_topic(topic, config=TOPIC_CONFIG)
    send(site.kafka.address, topic, list(clicks([noon(2)] * 3)))
    path = settings(tmp_path / name, site, *good(site, name), topic)
    checked = run(path, "check", "--json")
    assert checked.code == 0, checked.out
    assert PASSWORD not in checked.out + checked.err
    if name not in {"mtls", "scram"}:
        return  # the worker's client has the same options
    ended = run(path, "run", "--once")
    assert ended.code == 0, ended.err
    found = list((tmp_path / name / "out").glob("clicks/dt=*/*.csv"))
    assert sum(len(file.read_text().splitlines()) - 1 for file in found) == 3
    assert PASSWORD not in ended.out + ended.err


def bad(site: Site, name: str) -> tuple[str, Options, str]:
    """Listener, options, and what the message must say."""
    return {
        "wrong password": ("SASL", site.sasl(sasl_password=WRONG), "Authentication failed"),
        "untrusted broker": ("SASL", site.sasl(ssl_ca_location=str(site.foreign.file)), "certificate verify failed"),
        "no client certificate": ("MTLS", {**site.sasl(), "security.protocol": "SSL"}, "SSL alert"),
        "untrusted client": (
            "MTLS",
            site.mtls(ssl_certificate_location=str(site.stranger), ssl_key_location=str(site.stranger)),
            "SSL alert",
        ),
        "no TLS": ("SASL", {}, "security.protocol or sasl.mechanism"),
        "TLS without a password": ("SASL", site.mtls(), "security.protocol or sasl.mechanism"),
    }[name]


BAD = ("wrong password", "untrusted broker", "no client certificate", "untrusted client")


@pytest.mark.parametrize("name", [*BAD, "no TLS", "TLS without a password"])
def test_what_is_wrong_is_said(site: Site, tmp_path: Path, name: str) -> None:
    listener, options, words = bad(site, name)
    path = settings(tmp_path / "bad", site, listener, options, unique_topic("never"))
    checked = run(path, "check", "--json")
    assert checked.code == 1
    line = next(line for line in checked.document["checks"] if line["check"] == "reachable")
    assert words in line["detail"]
    assert "kafka.options" in line["todo"]
    said = [checked.out, checked.err]
    if name in {"wrong password", "untrusted broker", "no TLS"}:  # the others are told in the same way
        ended = run(path, "run", "--once")
        assert ended.code == 4
        assert words in ended.err.splitlines()[-1]
        said += [ended.out, ended.err]
    assert not [text for text in said if PASSWORD in text or WRONG in text]


def test_files_that_are_not_there_are_a_mistake_in_the_settings(site: Site, tmp_path: Path) -> None:
    path = settings(tmp_path / "gone", site, "SASL", site.sasl(ssl_ca_location="/nowhere/ca.pem"), "never")
    for arguments in (["run", "--once"], ["status"]):
        ended = run(path, *arguments)
        assert (ended.code, "ssl.ca.location" in ended.err) == (2, True), ended.err
    checked = run(path, "check")
    assert (checked.code, "ssl.ca.location" in checked.out) == (1, True), checked


# -- AWS MSK by IAM: the brokers see a bearer token; here one that is not signed, by a stand-in for Amazon's signer


def signer(folder: Path, lasts: float) -> dict[str, str]:
    """The environment of a process with that stand-in, whose tokens last so many seconds; it counts them in a file."""
    package = folder / "stand-in" / "aws_msk_iam_sasl_signer"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"""
import base64, json, pathlib, time


def part(claims):
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


class MSKAuthTokenProvider:
    @staticmethod
    def generate_auth_token(region):
        now = time.time()
        with pathlib.Path({str(folder / "tokens")!r}).open("a") as file:
            file.write(f"{{region}} {{now}}\\n")
        claims = {{"sub": "sink", "iat": now - 1, "exp": now + {lasts}}}
        return part({{"alg": "none"}}) + "." + part(claims) + ".", int((now + {lasts}) * 1000)
""")
    return {"PYTHONPATH": str(package.parent)}


def test_tokens_of_iam_are_renewed_while_a_worker_runs(site: Site, tmp_path: Path) -> None:
    """`check` and a worker go through, and go on when their first tokens are over."""
    topic = unique_topic("clicks")
    site.kafka.create_topic(topic, config=TOPIC_CONFIG)
    send(site.kafka.address, topic, list(clicks([noon(2)] * 3)))
    path = settings(tmp_path / "iam", site, "BEARER", {"ssl.ca.location": str(site.ours.file)}, topic)
    text = path.read_text().replace('"listen" = ""', '"listen" = "127.0.0.1:0"')
    path.write_text(text.replace('["kafka"]', '["kafka"]\nauth = "msk-iam"\nregion = "eu-west-1"'))
    environment = signer(tmp_path, lasts=10)
    checked = command(path, "check", "--json", env=environment, seconds=60)
    assert checked.code == 0, checked.out
    (line,) = [line for line in checked.document["checks"] if line["check"] == "token"]
    assert (line["outcome"], line["detail"]) == ("ok", "made for msk-iam in eu-west-1")
    with closing(sink := Sink(path, tmp_path / "sink.log", "run", env=environment)):
        sink.until_said("day_published", seconds=60)
        so_far = len((tmp_path / "tokens").read_text().splitlines())
        await_true(lambda: len((tmp_path / "tokens").read_text().splitlines()) > so_far + 2, 30, "new tokens")
        send(site.kafka.address, topic, list(clicks([noon(1)] * 2)))
        sink.until(lambda: [p["position"] for p in sink.status()["partitions"]] == [5], 60, "what came later is read")
        sink.terminate()
        sink.done(seconds=20)
