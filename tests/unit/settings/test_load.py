"""From a settings file to settings: what is taken, what the defaults are, what the rows follow from."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from consumer.domain.errors import UsageError
from consumer.settings.load import load_settings
from consumer.settings.model import Settings
from consumer.streams.kinds import KINDS
from consumer.streams.rules import DayBy, Filter, Format

LEAST = """
[kafka]
bootstrap_servers = "localhost:9092"
[destination]
url = "s3://adapty-events/com.sample-app"
[streams.events]
topic = "adapty.events"
"""
CLICKS = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "clicked_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "event_type", "type": ["null", "string"], "default": None},
        {"name": "button", "type": "string"},
    ],
}
Load = Callable[..., Settings]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    def loaded(text: str, environ: Mapping[str, str] | None = None) -> Settings:
        path = tmp_path / "sink.toml"
        path.write_text(text)
        return load_settings(path, environ or {})

    return loaded


def test_the_defaults_are_those_of_the_contract(load: Load) -> None:
    settings = load(LEAST)
    assert (settings.kafka.group_id, settings.kafka.instance_id, settings.kafka.options) == ("adapty-sink", "", {})
    assert settings.schema_registry is None
    assert settings.spool.directory == Path("/var/lib/adapty-sink")
    assert settings.spool.checkpoint_seconds == 5
    assert settings.spool.max_bytes == 20 * 1024**3
    assert settings.spool.min_free_bytes == 2 * 1024**3
    assert settings.schedule.seal_at == timedelta(hours=4)
    assert settings.schedule.give_up_after == timedelta(minutes=10)
    assert settings.http.address == ("0.0.0.0", 8080)  # noqa: S104 - a value of the case
    assert settings.quarantine.max_ratio == 0.05
    (stream,) = settings.streams
    assert (stream.name, stream.kind, stream.topic, stream.start) == ("events", "events", "adapty.events", "earliest")
    to = stream.destination
    assert (to.scheme, to.bucket, to.folder) == ("s3", "adapty-events", "com.sample-app")
    assert (to.region, to.endpoint_url, to.access_key_id, to.secret_access_key.get_secret_value()) == ("", "", "", "")
    assert (to.compression, to.server_side_encryption, to.storage_class, to.role_arn) == ("none", "", "", "")
    assert (to.addressing_style, to.effective_checksums, to.multipart_threshold) == (
        "auto",
        "when_supported",
        1024**3,
    )
    rules = stream.rules
    assert (rules.stream, rules.kind, rules.topic, rules.format) == ("events", "events", "adapty.events", Format.AVRO)
    assert (rules.time_field, rules.writer_schema, rules.day_by) == ("event_datetime", None, DayBy.EVENT)
    assert (rules.filter, rules.send_user_attributes) == (Filter(), False)


def test_the_page_of_the_contract_loads(load: Load, tmp_path: Path) -> None:
    (tmp_path / "clicks.avsc").write_text(json.dumps(CLICKS))
    settings = load(
        """
[kafka]
bootstrap_servers = "localhost:9092"
group_id = "adapty-sink"
instance_id = "${HOSTNAME}"
options = { "security.protocol" = "SASL_SSL" }
[schema_registry]
url = "http://localhost:8081"
options = {}
[destination]
url = "s3://adapty-events/com.sample-app"
region = "eu-central-1"
endpoint_url = ""
access_key_id = ""
secret_access_key = ""
compression = "none"
server_side_encryption = ""
storage_class = ""
role_arn = ""
[spool]
directory = "/var/lib/adapty-sink"
checkpoint_seconds = 5
max_bytes = "20GiB"
min_free_bytes = "2GiB"
[schedule]
seal_at = "04:00"
give_up_after = "10m"
[http]
listen = "0.0.0.0:8080"
[quarantine]
max_ratio = 0.05
[streams.events]
topic = "adapty.events"
start = "earliest"
format = "avro"
[streams.events.event_types]
default = true
subscription_paused = false
[streams.events.filter]
include_without_profile = false
exclude_historical = false
send_user_attributes = false
[streams.clicks]
topic = "clicks"
schema = "clicks.avsc"
time_field = "clicked_at"
""",
        {"HOSTNAME": "sink-0"},
    )
    assert settings.kafka.instance_id == "sink-0"
    assert settings.kafka.plain_options() == {"security.protocol": "SASL_SSL"}
    events, clicks = settings.streams
    assert events.rules.filter == Filter(event_types={"subscription_paused": False})
    assert (clicks.kind, clicks.rules.time_field, clicks.rules.format) == ("custom", "clicked_at", Format.AVRO)
    assert json.loads(clicks.rules.schema) == CLICKS
    assert settings.stream("clicks") is clicks
    assert settings.stream_of("adapty.events") is events
    assert settings.stream("nothing") is None
    assert settings.stream_of("nothing") is None


@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_defaults_to_the_name_and_brings_schema_and_time_field(load: Load, kind: str) -> None:
    (stream,) = load(LEAST.replace("streams.events", f"streams.{kind}")).streams
    assert (stream.kind, stream.rules.time_field) == (kind, KINDS[kind].time_field)
    assert json.loads(stream.rules.schema) == json.loads(KINDS[kind].schema)


def test_a_kind_under_another_name(load: Load) -> None:
    text = LEAST.replace("[streams.events]", '[streams.second]\nkind = "events"')
    (stream,) = load(text).streams
    assert (stream.name, stream.kind, stream.rules.stream) == ("second", "events", "second")


def test_a_kind_with_a_schema_of_the_users(load: Load, tmp_path: Path) -> None:
    schema = json.loads(KINDS["events"].schema)
    schema["fields"] = schema["fields"][:7]
    (tmp_path / "few.avsc").write_text(json.dumps(schema))
    (stream,) = load(LEAST + 'schema = "few.avsc"').streams
    assert (stream.kind, stream.rules.time_field) == ("events", "event_datetime")
    assert len(json.loads(stream.rules.schema)["fields"]) == 7


def test_white_space_in_a_schema_changes_no_digest(load: Load, tmp_path: Path) -> None:
    text = LEAST + '[streams.clicks]\ntopic = "clicks"\nschema = "clicks.avsc"\ntime_field = "clicked_at"'
    digests = set()
    for layout in (json.dumps(CLICKS), json.dumps(CLICKS, indent=4), "\ufeff" + json.dumps(CLICKS, indent=1) + "\n\n"):
        (tmp_path / "clicks.avsc").write_text(layout)
        digests.add(load(text).streams[1].rules.digest)
    assert len(digests) == 1


def test_what_decides_rows_changes_the_digest_and_nothing_else_does(load: Load) -> None:
    plain = load(LEAST).streams[0].rules.digest
    elsewhere = LEAST.replace("com.sample-app", "else").replace("9092", "9093") + 'start = "latest"'
    assert load(elsewhere).streams[0].rules.digest == plain
    for more in (
        'format = "json"',
        'day_by = "record"',
        'time_field = "install_date"',
        "[streams.events.event_types]\ndefault = false",
        "[streams.events.filter]\nenvironments = ['Production']",
        "[streams.events.filter]\nexclude_historical = true",
        "[streams.events.filter]\nsend_user_attributes = true",
    ):
        assert load(f"{LEAST}{more}").streams[0].rules.digest != plain


def test_schema_paths_are_relative_to_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "etc"
    (folder / "schemas").mkdir(parents=True)
    (folder / "schemas" / "clicks.avsc").write_text(json.dumps(CLICKS))
    text = LEAST + '[streams.clicks]\ntopic = "c"\nschema = "schemas/clicks.avsc"\ntime_field = "clicked_at"\n'
    text += 'writer_schema = "schemas/clicks.avsc"\n[spool]\ndirectory = "../spool"\n'
    (folder / "sink.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    settings = load_settings(Path("etc/sink.toml"), {})
    assert settings.streams[1].rules.writer_schema == settings.streams[1].rules.schema
    assert settings.spool.directory == tmp_path / "spool"


def test_filters_are_normalised(load: Load) -> None:
    (stream,) = load(
        LEAST
        + """
[streams.events.event_types]
default = false
" Subscription_Started " = true
[streams.events.filter]
include_without_profile = true
environments = ["Sandbox", " production", "SANDBOX"]
"""
    ).streams
    assert stream.rules.filter == Filter(
        event_types={"subscription_started": True},
        event_type_default=False,
        include_without_profile=True,
        environments=("production", "sandbox"),
    )


def test_historical_before_is_an_instant_in_utc(load: Load) -> None:
    text = (
        LEAST.replace("streams.events", "streams.ua_events") + "[streams.ua_events.filter]\nexclude_historical = true\n"
    )
    wanted = datetime(2026, 10, 31, 22, tzinfo=UTC)
    for written in ('"2026-11-01T00:00:00+02:00"', "2026-11-01T00:00:00+02:00", '"2026-10-31 22:00Z"'):
        (stream,) = load(f"{text}historical_before = {written}").streams
        assert stream.rules.filter.historical_before == wanted
        assert stream.rules.filter.historical_before.tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "start"),
    [
        ('"earliest"', "earliest"),
        ('"latest"', "latest"),
        ('"2026-11-01T00:00:00Z"', datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T05:30:00.5+05:30", datetime(2026, 11, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
    ],
)
def test_where_a_stream_starts(load: Load, written: str, start: object) -> None:
    assert load(f"{LEAST}start = {written}").streams[0].start == start


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("1024", 1024),
        ('"500MB"', 500_000_000),
        ('"20GiB"', 20 * 1024**3),
        ('"1.5 kib"', 1536),
        ('"1TB"', 10**12),
        ('"7B"', 7),
        ('"${SIZE}"', 4096),
        ('"${NUMBER}GiB"', 3 * 1024**3),
    ],
)
def test_sizes(load: Load, written: str, size: int) -> None:
    text = f"{LEAST}[spool]\nmax_bytes = {written}\nmin_free_bytes = {written}"
    spool = load(text, {"SIZE": "4096", "NUMBER": "3"}).spool
    assert (spool.max_bytes, spool.min_free_bytes) == (size, size)


@pytest.mark.parametrize(
    ("written", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1d", 86_400), ("1d2h3m4s", 93_784)]
)
def test_durations(load: Load, written: str, seconds: int) -> None:
    settings = load(f'{LEAST}[schedule]\ngive_up_after = "{written}"')
    assert settings.schedule.give_up_after == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("written", "seal_at"),
    [
        ('"00:00"', timedelta(0)),
        ('"23:59:59"', timedelta(hours=23, minutes=59, seconds=59)),
        ("04:30:00", timedelta(hours=4.5)),
    ],
)
def test_seal_times(load: Load, written: str, seal_at: timedelta) -> None:
    assert load(f"{LEAST}[schedule]\nseal_at = {written}").schedule.seal_at == seal_at


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("", None),
        (":9000", ("0.0.0.0", 9000)),  # noqa: S104 - a value of the case
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:8080", ("::1", 8080)),
        ("localhost:80", ("localhost", 80)),
    ],
)
def test_listen_addresses(load: Load, written: str, address: object) -> None:
    assert load(f'{LEAST}[http]\nlisten = "{written}"').http.address == address


def test_the_environment_fills_any_text(load: Load) -> None:
    text = """
[kafka]
bootstrap_servers = "${A}:9092,${B}:9092"
options = { "sasl.password" = "$${not}-${PASSWORD}", "sasl.username" = "${EMPTY}" }
[destination]
url = "s3://${BUCKET}/x"
[spool]
checkpoint_seconds = "${SECONDS}"
[streams.events]
topic = "adapty.events"
[streams.events.event_types]
default = "${ON}"
[streams.events.filter]
environments = ["${ENVIRONMENT}"]
"""
    environ = {
        "A": "k1",
        "B": "k2",
        "PASSWORD": "p${A}",
        "EMPTY": "",
        "BUCKET": "bucket",
        "SECONDS": "2.5",
        "ON": "false",
        "ENVIRONMENT": "Production",
    }
    settings = load(text, environ)
    assert settings.kafka.bootstrap_servers == "k1:9092,k2:9092"
    assert settings.kafka.plain_options() == {"sasl.password": "${not}-p${A}", "sasl.username": ""}
    assert settings.spool.checkpoint_seconds == 2.5
    assert settings.streams[0].destination.bucket == "bucket"
    assert settings.streams[0].rules.filter.event_type_default is False
    assert settings.streams[0].rules.filter.environments == ("production",)


def test_options_may_be_dotted_and_keep_their_types(load: Load) -> None:
    settings = load(
        LEAST
        + """
[kafka.options]
security.protocol = "SSL"
"enable.ssl.certificate.verification" = false
"fetch.max.bytes" = 1000
"group.protocol" = "consumer"
[schema_registry]
url = "https://r1:8081/, http://r2/apis/ccompat/v7"
[schema_registry.options]
timeout = 2.5
"""
    )
    assert settings.kafka.plain_options() == {
        "security.protocol": "SSL",
        "enable.ssl.certificate.verification": "false",
        "fetch.max.bytes": "1000",
        "group.protocol": "consumer",
    }
    assert settings.schema_registry is not None
    assert settings.schema_registry.url == "https://r1:8081,http://r2/apis/ccompat/v7"
    assert settings.schema_registry.plain_options() == {"timeout": 2.5}


def test_a_user_in_the_registry_url_becomes_an_option(load: Load) -> None:
    settings = load(f'{LEAST}[schema_registry]\nurl = "https://me:p%40ss@r1:8081,http://r2"\n')
    assert settings.schema_registry is not None
    assert settings.schema_registry.url == "https://r1:8081,http://r2"
    assert settings.schema_registry.plain_options() == {"basic.auth.user.info": "me:p@ss"}


def test_streams_override_the_destination_partly_or_wholly(load: Load) -> None:
    events, views, local = load(
        """
[kafka]
bootstrap_servers = "localhost:9092"
[destination]
url = "s3://one/a"
region = "eu-central-1"
access_key_id = "id"
secret_access_key = "secret-one"
compression = "gzip"
[streams.events]
topic = "e"
[streams.paywall_views]
topic = "p"
[streams.paywall_views.destination]
compression = "zstd"
secret_access_key = "secret-two"
[streams.ua_events]
topic = "u"
[streams.ua_events.destination]
url = "file:///data/my%20out/"
"""
    ).streams
    assert (events.destination.compression, views.destination.compression, local.destination.compression) == (
        "gzip",
        "zstd",
        "gzip",
    )
    assert views.destination.url == "s3://one/a"
    assert views.destination.access_key_id == "id"
    assert views.destination.secret_access_key.get_secret_value() == "secret-two"
    assert (local.destination.scheme, local.destination.directory) == ("file", Path("/data/my out"))
    assert (local.destination.bucket, local.destination.folder, local.destination.access_key_id) == ("", "", "")


def test_a_base_destination_is_not_needed_where_every_stream_has_its_own(load: Load) -> None:
    text = LEAST.replace("[destination]\nurl", "[streams.events.destination]\nurl")
    assert load(text).streams[0].destination.bucket == "adapty-events"


@pytest.mark.parametrize(
    ("url", "bucket", "folder"),
    [
        ("s3://b-1", "b-1", ""),
        ("s3://bucket/", "bucket", ""),
        ("s3://adapty-events/com.sample-app/nested/", "adapty-events", "com.sample-app/nested"),
        ("s3://bucket/mit leer/é", "bucket", "mit leer/é"),
        ("s3://bucket/a%2Fb", "bucket", "a%2Fb"),
    ],
)
def test_buckets_and_folders(load: Load, url: str, bucket: str, folder: str) -> None:
    to = load(LEAST.replace("s3://adapty-events/com.sample-app", url)).streams[0].destination
    assert (to.bucket, to.folder) == (bucket, folder)


def test_checksums_follow_the_endpoint_unless_given(load: Load) -> None:
    endpoint = LEAST.replace("[streams", 'endpoint_url = "http://localhost:9000"\n[streams')
    assert load(endpoint).streams[0].destination.effective_checksums == "auto", "the store is asked"
    given = endpoint.replace("[streams", 'checksums = "when_supported"\n[streams')
    assert load(given).streams[0].destination.effective_checksums == "when_supported"


def test_settings_are_frozen(load: Load) -> None:
    settings = load(LEAST)
    with pytest.raises(ValidationError):
        settings.kafka.group_id = "other"
    with pytest.raises(ValidationError):
        settings.streams = ()


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "sink.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LEAST.replace("\n", "\r\n").encode())
    assert load_settings(path, {}).streams[0].topic == "adapty.events"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[kafka]\nbootstrap_servers = \n", "is not valid TOML: Invalid value (at line 2, column 21)"),
        (b"[kafka]\n[kafka]\n", "is not valid TOML: Cannot declare ('kafka',) twice (at line 2, column 7)"),
        (b'a = "\xff"', "is not UTF-8 text (byte 5)"),
        (b"a = " + b"[" * 20_000, "is nested too deep"),
        (b"a = " + b"9" * 5000, "is not valid TOML: "),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "sink.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as error:
        load_settings(path, {})
    assert str(error.value).startswith(f"{path} {words}")


@pytest.mark.parametrize(("name", "why"), [("missing.toml", "No such file or directory"), ("", "Is a directory")])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        load_settings(tmp_path / name, {})
