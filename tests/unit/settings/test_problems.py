"""Problems in the settings: each has its key path and a way out, all are told at once, no secret is among the words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from consumer.domain.errors import UsageError
from consumer.settings.kafka import FIXED_OPTIONS
from consumer.settings.load import load_settings

LEAST = """
[kafka]
bootstrap_servers = "localhost:9092"
[destination]
url = "s3://adapty-events/com.sample-app"
[streams.events]
topic = "adapty.events"
"""
SCHEMAS: dict[str, str | bytes] = {
    "clicks.avsc": '{"type":"record","name":"C","fields":[{"name":"at","type":"long"},{"name":"n","type":"boolean"}]}',
    "broken.avsc": '{"type": "record"',
    "enum.avsc": '{"type":"enum","name":"E","symbols":["A"]}',
    "unknown.avsc": '{"type":"record","name":"C","fields":[{"name":"at","type":"Nothing"}]}',
    "latin.avsc": "é".encode("latin-1"),
}
CLICKS = '[streams.clicks]\ntopic = "clicks"\nschema = "clicks.avsc"\ntime_field = "at"\n'
UA = '[streams.ua_events]\ntopic = "ua"\n'
METRICS = '[streams.ua_campaign_metrics]\ntopic = "m"\n'
Told = Callable[..., list[str]]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    for name, text in SCHEMAS.items():
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def lines(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """The mistakes in this file, without the head line."""
        path = tmp_path / "sink.toml"
        path.write_text(text)
        with pytest.raises(UsageError) as error:
            load_settings(path, environ or {})
        head, *problems = str(error.value).split("\n")
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        assert head == f"{path} has {count}:"
        return problems

    return lines


def base(key_and_value: str) -> str:
    """The least file with one more key in [destination]."""
    return LEAST.replace("[streams", f"{key_and_value}\n[streams")


def kafka(key_and_value: str) -> str:
    return LEAST.replace("[destination", f"{key_and_value}\n[destination")


CASES: dict[str, tuple[str, str]] = {
    "unknown table": (
        f"{LEAST}[kafak]\nx = 1",
        'kafak: unknown table; did you mean "kafka"?',
    ),
    "unknown table without a like": (
        f"{LEAST}[zzz]",
        (
            "zzz: unknown table; known here: kafka, schema_registry, destination, spool, schedule, http, quarantine,"
            " privacy, streams"
        ),
    ),
    "table that is none": (
        "spool = 3\n" + LEAST,
        "spool: must be a table, not a whole number; write [spool] and its keys below",
    ),
    "required table that is none": (
        "kafka = 'x'\n"
        + LEAST.replace("[kafka]\nbootstrap_servers", "[schema_registry]\nurl").replace('"local', '"http://local'),
        "kafka: must be a table, not text; write [kafka] and its keys below",
    ),
    "unknown key": (kafka("group = 'x'"), 'kafka.group: unknown key; did you mean "group_id"?'),
    "unknown key that needs quotes": (
        f'{LEAST}"a b.\\n" = 1',
        (
            'streams.events."a b.\\n": unknown key; known here: topic, kind, start, format, schema, writer_schema,'
            " time_field, day_by, oldest_day, line_breaks"
        ),
    ),
    "unknown filter": (
        f"{LEAST}[streams.events.filter]\nexclude_history = true",
        'streams.events.filter.exclude_history: unknown key; did you mean "exclude_historical"?',
    ),
    "unknown destination key": (
        base('secret_acces_key = "s"'),
        'destination.secret_acces_key: unknown key; did you mean "secret_access_key"?',
    ),
    # kafka
    "no brokers": (
        LEAST.replace('bootstrap_servers = "localhost:9092"', ""),
        'kafka.bootstrap_servers: is missing; write e.g. bootstrap_servers = "localhost:9092"',
    ),
    "broker without port": (
        LEAST.replace("localhost:9092", "a:1,b"),
        (
            'kafka.bootstrap_servers: "a:1,b" is not a list of brokers; write host:port, separated by commas, e.g.'
            ' "kafka-1:9092,kafka-2:9092"'
        ),
    ),
    "empty group": (kafka("group_id = ''"), 'kafka.group_id: is missing; write e.g. group_id = "adapty-sink"'),
    "instance id with a blank": (
        kafka("instance_id = 'a b'"),
        "kafka.instance_id: \"a b\" is not a valid instance id; use letters, digits, '.', '_' and '-', at most 249",
    ),
    "text that is a number": (
        kafka("group_id = 7"),
        "kafka.group_id: 7 must be text; put it in quotes",
    ),
    "text of two lines": (
        kafka('group_id = "a\\nb"'),
        'kafka.group_id: "a\\nb" contains a line break or another control character; write it on one line',
    ),
    "options that are no table": (
        kafka("options = 'x'"),
        "kafka.options: must be a table, not text; write [kafka.options] and its keys below",
    ),
    "option that is a list": (
        kafka("options = {a = [1]}"),
        "kafka.options.a: must be text, a number, true or false, not a list",
    ),
    "group protocol": (
        kafka('options = {"group.protocol" = "x"}'),
        'kafka.options."group.protocol": is not known; write "classic" or "consumer"',
    ),
    "classic option under the new protocol": (
        kafka('options = {"group.protocol" = "consumer", "session.timeout.ms" = 1}'),
        ('kafka.options."session.timeout.ms": is set by the brokers under "group.protocol" = "consumer"; leave it out'),
    ),
    # registry
    "registry without url": (
        f"{LEAST}[schema_registry]",
        'schema_registry.url: is missing; write e.g. url = "http://localhost:8081"',
    ),
    "bad registry url": (
        f"{LEAST}[schema_registry]\nurl = 'http://a:8081,ftp://b'",
        'schema_registry.url: "http://a:8081,ftp://b" is not the URL of a server; write e.g. "https://host:9000"',
    ),
    "two users": (
        f"{LEAST}[schema_registry]\nurl = 'http://a:b@h'\noptions = {{'basic.auth.user.info' = 'c:d'}}",
        "schema_registry.url: contains a user, and so does the option basic.auth.user.info; leave one of them out",
    ),
    "two different users": (
        f"{LEAST}[schema_registry]\nurl = 'http://a:b@h,http://c:d@i'",
        "schema_registry.url: contains different users; write one of them in the option basic.auth.user.info",
    ),
    "url among the options": (
        f"{LEAST}[schema_registry]\nurl = 'http://a'\noptions = {{url = 'http://b'}}",
        "schema_registry.options.url: cannot be overridden: write schema_registry.url instead",
    ),
    "registry format without a registry": (
        f'{LEAST}format = "avro-registry"',
        'streams.events.format: "avro-registry" needs the table [schema_registry]; write it, with its url',
    ),
    # destination
    "no destination": (
        LEAST.replace("[destination]\nurl", "[schema_registry]\nurl").replace("s3:", "http:"),
        'destination.url: is missing; write e.g. url = "s3://adapty-events/com.sample-app"',
    ),
    "destination without a scheme": (
        LEAST.replace("s3://", ""),
        (
            'destination.url: "adapty-events/com.sample-app" is not a destination; write "s3://bucket/folder" or'
            ' "file:///folder"'
        ),
    ),
    "destination of another scheme": (
        LEAST.replace("s3://", "gs://"),
        (
            'destination.url: "gs://adapty-events/com.sample-app" is not a destination; write "s3://bucket/folder" or'
            ' "file:///folder"'
        ),
    ),
    "no bucket": (
        LEAST.replace("adapty-events", ""),
        'destination.url: "s3:///com.sample-app" has no bucket; write "s3://bucket/folder"',
    ),
    "folder with dots": (
        LEAST.replace("com.sample-app", "a/../b"),
        "destination.url: \"s3://adapty-events/a/../b\" has an empty, '.' or '..' part in its folder; leave it out",
    ),
    "folder with a question mark": (
        LEAST.replace("com.sample-app", "a?b"),
        "destination.url: \"s3://adapty-events/a?b\" contains '?' or '#', which are not allowed in a folder",
    ),
    "folder that is too long": (
        LEAST.replace("com.sample-app", "é" * 251),
        (
            'destination.url: "s3://adapty-events/'
            + json.dumps("é" * 38)[1:-1]
            + '..." is too long; a folder has at most'
            " 500 bytes"
        ),
    ),
    "local folder with two slashes": (
        LEAST.replace("s3://", "file://"),
        (
            'destination.url: "file://adapty-events/com.sample-app" is not an absolute path; write three slashes, e.g.'
            ' "file:///var/lib/sink/out"'
        ),
    ),
    "local folder with dots": (
        LEAST.replace("s3://", "file:///a/../"),
        (
            "destination.url: \"file:///a/../adapty-events/com.sample-app\" has a '..' or a control character"
            " in its path;"
            " write the absolute path"
        ),
    ),
    "bad region": (
        base("region = 'Frankfurt'"),
        'destination.region: "Frankfurt" is not a valid region; write e.g. "eu-central-1"',
    ),
    "bad endpoint": (
        base("endpoint_url = 'minio:9000'"),
        'destination.endpoint_url: "minio:9000" is not the URL of a server; write e.g. "https://host:9000"',
    ),
    "bad port": (
        base("endpoint_url = 'http://minio:99999'"),
        'destination.endpoint_url: "http://minio:99999" is not a URL',
    ),
    "compression": (
        base("compression = 'lz4'"),
        'destination.compression: "lz4" is not a valid value; write "none", "gzip" or "zstd"',
    ),
    "compression of another type": (
        base("compression = true"),
        'destination.compression: true is not a valid value; write "none", "gzip" or "zstd"',
    ),
    "key without secret": (
        base("access_key_id = 'id'"),
        "destination.secret_access_key: is required with access_key_id; write both or neither",
    ),
    "secret without key": (
        base("secret_access_key = 's'"),
        "destination.access_key_id: is required with secret_access_key; write both or neither",
    ),
    "kms key without kms": (
        base("kms_key_id = 'k'\nserver_side_encryption = 'AES256'"),
        'destination.kms_key_id: needs server_side_encryption = "aws:kms"; write it, or leave the key out',
    ),
    "kms without a key": (
        base("server_side_encryption = 'aws:kms'"),
        "destination.kms_key_id: is required with server_side_encryption; write the key's ARN",
    ),
    "storage class that cannot be read": (
        base("storage_class = 'GLACIER'"),
        (
            'destination.storage_class: "GLACIER" is not a storage class that allows immediate reads; write e.g.'
            ' "STANDARD_IA"'
        ),
    ),
    "bad role": (
        base("role_arn = 'sink'"),
        'destination.role_arn: "sink" is not the ARN of a role; write e.g. "arn:aws:iam::123456789012:role/sink"',
    ),
    "external id without a role": (
        base("external_id = 'sink-7f3a'"),
        "destination.role_arn: is required with external_id; write the role, or leave the id out",
    ),
    "bad external id": (
        base("external_id = 'two words'\nrole_arn = 'arn:aws:iam::123456789012:role/sink'"),
        'destination.external_id: "two words" is not a valid external id; write 2 to 1,224 letters, digits or +=,.@:/-',
    ),
    "bundle that is not there": (
        base("ca_bundle = 'nowhere.pem'"),
        'destination.ca_bundle: "nowhere.pem" cannot be read (No such file or directory); write the path of a PEM file',
    ),
    "bundle without a certificate": (
        base("ca_bundle = '/dev/null'"),
        'destination.ca_bundle: "/dev/null" does not contain a certificate; write the path of a PEM file',
    ),
    "bundle of a local folder": (
        base("ca_bundle = '/etc/ca.pem'").replace("s3://", "file:///"),
        "destination.ca_bundle: has no effect in a local folder; leave it out",
    ),
    "part size": (
        base("multipart_threshold = '1MiB'"),
        'destination.multipart_threshold: "1MiB" is out of range; write 5MiB to 5GiB',
    ),
    "larger than one request": (
        base("multipart_threshold = '6GiB'"),
        'destination.multipart_threshold: "6GiB" is out of range; write 5MiB to 5GiB',
    ),
    "S3 key of a local folder": (
        base("server_side_encryption = 'AES256'").replace("s3://", "file:///"),
        "destination.server_side_encryption: has no effect in a local folder; leave it out",
    ),
    "mistake in an override": (
        f"{LEAST}[streams.events.destination]\ncompression = 'x'",
        'streams.events.destination.compression: "x" is not a valid value; write "none", "gzip" or "zstd"',
    ),
    "mistake between base and override": (
        f"{LEAST}[streams.events.destination]\nkms_key_id = 'x'",
        (
            'streams.events.destination.kms_key_id: needs server_side_encryption = "aws:kms"; write it, or'
            " leave the key"
            " out"
        ),
    ),
    "mistake that two streams inherit": (
        base("compression = 'x'") + METRICS,
        'destination.compression: "x" is not a valid value; write "none", "gzip" or "zstd"',
    ),
    "mistake that every stream overrides": (
        base("compression = 'x'") + "[streams.events.destination]\ncompression = 'gzip'",
        'destination.compression: "x" is not a valid value; write "none", "gzip" or "zstd"',
    ),
    "destination in another's stream": (
        f"{LEAST}{METRICS}[streams.ua_campaign_metrics.destination]\nurl = 's3://adapty-events/com.sample-app/events/x'",
        (
            'streams.ua_campaign_metrics.destination.url: is inside the folder "events" of the destination of stream'
            ' "events"; choose a folder outside it'
        ),
    ),
    "destination in another's seal log": (
        f"{LEAST}{METRICS}[streams.ua_campaign_metrics.destination]\nurl = 's3://adapty-events/com.sample-app/_seals'",
        (
            'streams.ua_campaign_metrics.destination.url: is inside the folder "_seals" of the destination of stream'
            ' "events"; choose a folder outside it'
        ),
    ),
    "spool in a destination": (
        LEAST.replace("s3://", "file:///") + "[spool]\ndirectory = '/adapty-events/com.sample-app/spool'",
        'spool.directory: and the destination of stream "events" overlap; choose separate folders',
    ),
    "destination in the spool": (
        LEAST.replace("s3://", "file:///") + "[spool]\ndirectory = '/adapty-events'",
        'spool.directory: and the destination of stream "events" overlap; choose separate folders',
    ),
    # spool, schedule, http, quarantine
    "size without a unit": (
        f"{LEAST}[spool]\nmax_bytes = '20'",
        'spool.max_bytes: "20" is not a valid size; write a whole number of bytes, or "500MB" or "20GiB"',
    ),
    "size that is a fraction": (
        f"{LEAST}[spool]\nmin_free_bytes = 0.5",
        'spool.min_free_bytes: 0.5 is not a valid size; write a whole number of bytes, or "500MB" or "20GiB"',
    ),
    "negative size": (
        f"{LEAST}[spool]\nmin_free_bytes = -1",
        'spool.min_free_bytes: -1 is not a valid size; write a whole number of bytes, or "500MB" or "20GiB"',
    ),
    "no room at all": (f"{LEAST}[spool]\nmax_bytes = 0", 'spool.max_bytes: 0 must be more than 0; write e.g. "20GiB"'),
    "spool nowhere": (
        f"{LEAST}[spool]\ndirectory = ''",
        'spool.directory: "" does not name a folder; write e.g. "/var/lib/adapty-sink"',
    ),
    "checkpoints never": (
        f"{LEAST}[spool]\ncheckpoint_seconds = 0",
        "spool.checkpoint_seconds: 0 must be between 0.1 and 3600",
    ),
    "checkpoints in text": (
        f"{LEAST}[spool]\ncheckpoint_seconds = '5'",
        'spool.checkpoint_seconds: "5" must be a number without quotes',
    ),
    "not a valid time of day": (
        f"{LEAST}[schedule]\nseal_at = '24:00'",
        'schedule.seal_at: "24:00" is not a valid time of day; write UTC hours and minutes, e.g. "04:00"',
    ),
    "duration without a unit": (
        f"{LEAST}[schedule]\ngive_up_after = 600",
        'schedule.give_up_after: 600 is not a valid duration; write e.g. "90s", "10m" or "1h30m"',
    ),
    "duration of nothing": (
        f"{LEAST}[schedule]\ngive_up_after = '0s'",
        'schedule.give_up_after: "0s" must be between "1s" and "7d"',
    ),
    "empty duration": (
        f"{LEAST}[schedule]\ngive_up_after = ''",
        'schedule.give_up_after: "" is not a valid duration; write e.g. "90s", "10m" or "1h30m"',
    ),
    "no address": (
        f"{LEAST}[http]\nlisten = '8080'",
        (
            'http.listen: "8080" is not an address to listen on; write host:port, e.g. "0.0.0.0:8080",'
            ' or "" to switch it off'
        ),
    ),
    "ratio above one": (f"{LEAST}[quarantine]\nmax_ratio = 5", "quarantine.max_ratio: 5 must be between 0 and 1"),
    "ratio that is no number": (
        f"{LEAST}[quarantine]\nmax_ratio = nan",
        "quarantine.max_ratio: nan must be a number without quotes",
    ),
    # streams
    "no streams": (
        LEAST.replace("[streams.events]\ntopic", "[schema_registry]\nurl").replace("adapty.events", "http://h"),
        "streams: is missing; write at least one stream, e.g. [streams.events] with its topic",
    ),
    "streams that are none": (
        LEAST.replace('[streams.events]\ntopic = "adapty.events"', "[streams]\nevents = 1"),
        "streams.events: must be a table, not a whole number; write [streams.events] and its keys below",
    ),
    "stream without a topic": (
        LEAST.replace('topic = "adapty.events"', ""),
        'streams.events.topic: is missing; write e.g. topic = "adapty.events"',
    ),
    "topic by pattern": (
        LEAST.replace("adapty.events", "^adapty.*"),
        (
            "streams.events.topic: \"^adapty.*\" is not a valid topic name; use letters, digits, '.', '_' and '-',"
            " at most 249"
        ),
    ),
    "stream name with a slash": (
        LEAST.replace("[streams.events]", '[streams."a/b"]\nkind = "events"'),
        (
            "streams.\"a/b\": is not a valid stream name; use at most 100 letters, digits, '.', '_' and '-',"
            " the first a letter or digit"
        ),
    ),
    "stream name of the sink itself": (
        f'{LEAST}[streams.Exports]\ntopic = "x"\nkind = "events"',
        "streams.Exports: is a folder that the sink uses itself; choose another name",
    ),
    "stream names that differ in case": (
        f'{LEAST}[streams.Events]\ntopic = "x"\nkind = "events"',
        'streams.Events: differs from "events" only in case; choose another name',
    ),
    "two streams on one topic": (
        f"{LEAST}{METRICS.replace(chr(34) + 'm' + chr(34), chr(34) + 'adapty.events' + chr(34))}",
        (
            'streams.ua_campaign_metrics.topic: "adapty.events" feeds the stream "events" already; one topic feeds one'
            " stream, a second export of it needs a worker with another group_id and folder"
        ),
    ),
    "unknown kind": (
        f'{LEAST}kind = "event"',
        'streams.events.kind: "event" is not a valid kind; did you mean "events"?',
    ),
    "name that is no kind": (
        f'{LEAST}[streams.clicks]\ntopic = "c"',
        (
            "streams.clicks.kind: is missing, and the stream's name is not a shipped kind; write events or"
            " paywall_views or ua_events or ua_campaign_metrics, or your own schema and time_field"
        ),
    ),
    "custom without a schema": (
        f'{LEAST}[streams.clicks]\ntopic = "c"\nkind = "custom"\ntime_field = "at"',
        'streams.clicks.schema: is missing; write e.g. schema = "clicks.avsc"',
    ),
    "custom without a time field": (
        f"{LEAST}{CLICKS}".replace('time_field = "at"', ""),
        'streams.clicks.time_field: is missing; write e.g. time_field = "clicked_at"',
    ),
    "time field that is missing": (
        f"{LEAST}{CLICKS}".replace('"at"', '"when"'),
        'streams.clicks.time_field: the schema has no field "when"; write a field of the schema',
    ),
    "time field that holds no time": (
        f"{LEAST}{CLICKS}".replace('"at"', '"n"'),
        (
            'streams.clicks.time_field: "n" is of type boolean; it takes an instant, a date, an epoch number or'
            " ISO text;"
            " write a field of the schema"
        ),
    ),
    "schema that is missing": (
        f"{LEAST}{CLICKS}".replace("clicks.avsc", "nowhere.avsc"),
        (
            'streams.clicks.schema: "nowhere.avsc" cannot be read (No such file or directory); write a path'
            " relative to the"
            " settings file"
        ),
    ),
    "schema that is a folder": (
        f"{LEAST}{CLICKS}".replace("clicks.avsc", "."),
        'streams.clicks.schema: "." cannot be read (Is a directory); write a path relative to the settings file',
    ),
    "schema that is no JSON": (
        f"{LEAST}{CLICKS}".replace("clicks.avsc", "broken.avsc"),
        'streams.clicks.schema: "broken.avsc" is not JSON in UTF-8; write the path of an Avro schema (.avsc)',
    ),
    "schema that is no UTF-8": (
        f"{LEAST}{CLICKS}".replace("clicks.avsc", "latin.avsc"),
        'streams.clicks.schema: "latin.avsc" is not JSON in UTF-8; write the path of an Avro schema (.avsc)',
    ),
    "writer schema that is missing": (
        f'{LEAST}writer_schema = "nowhere.avsc"',
        (
            'streams.events.writer_schema: "nowhere.avsc" cannot be read (No such file or directory); write a'
            " path relative"
            " to the settings file"
        ),
    ),
    "writer schema of JSON": (
        f'{LEAST}writer_schema = "clicks.avsc"\nformat = "json"',
        (
            "streams.events.writer_schema: it applies only to the format avro, not to json; leave it out, or write"
            ' format = "avro" and a schema file'
        ),
    ),
    "start": (
        f'{LEAST}start = "yesterday"',
        (
            'streams.events.start: "yesterday" is not a valid start; write "earliest", "latest" or an instant, e.g.'
            ' "2026-11-01T00:00:00Z"'
        ),
    ),
    "start without an offset": (
        f'{LEAST}start = "2026-11-01T00:00:00"',
        (
            'streams.events.start: "2026-11-01T00:00:00" is not a valid start; write "earliest", "latest" or an'
            ' instant, e.g. "2026-11-01T00:00:00Z"'
        ),
    ),
    "start by epoch": (
        f'{LEAST}start = "1721051762123"',
        (
            'streams.events.start: "1721051762123" is not a valid start; write "earliest", "latest" or an instant, e.g.'
            ' "2026-11-01T00:00:00Z"'
        ),
    ),
    "start on a day": (
        f"{LEAST}start = 2026-11-01",
        (
            'streams.events.start: 2026-11-01 is not a valid start; write "earliest", "latest" or an instant, e.g.'
            ' "2026-11-01T00:00:00Z"'
        ),
    ),
    "day_by": (
        f'{LEAST}day_by = "ingest"',
        'streams.events.day_by: "ingest" is not a valid value; write "event" or "record"',
    ),
    "event type in words": (
        f'{LEAST}[streams.events.event_types]\nsubscription_paused = "no"',
        'streams.events.event_types.subscription_paused: "no" must be true or false, without quotes',
    ),
    "event type twice": (
        f'{LEAST}[streams.events.event_types]\nx = true\n" X" = false',
        (
            'streams.events.event_types." X": is the same event type as another key, with the other switch;'
            " leave one of"
            " them out"
        ),
    ),
    "event types of a stream without": (
        f"{LEAST}{METRICS}[streams.ua_campaign_metrics.event_types]\ndefault = true",
        "streams.ua_campaign_metrics.event_types: the stream has no column 'event_type'; leave it out",
    ),
    "profiles of a stream without": (
        f"{LEAST}{METRICS}[streams.ua_campaign_metrics.filter]\ninclude_without_profile = false",
        (
            "streams.ua_campaign_metrics.filter.include_without_profile: the stream has no column 'profile_id';"
            " leave it"
            " out"
        ),
    ),
    "environments of a stream without": (
        f"{LEAST}{UA}[streams.ua_events.filter]\nenvironments = ['Production']",
        "streams.ua_events.filter.environments: the stream has no column 'environment'; leave it out",
    ),
    "history of a stream without": (
        f"{LEAST}{CLICKS}[streams.clicks.filter]\nexclude_historical = false",
        "streams.clicks.filter.exclude_historical: the stream has no column 'install_date'; leave it out",
    ),
    "attributes of a stream without": (
        f"{LEAST}{METRICS}[streams.ua_campaign_metrics.filter]\nsend_user_attributes = true",
        (
            "streams.ua_campaign_metrics.filter.send_user_attributes: it applies only to events and ua_events;"
            " leave it out"
        ),
    ),
    "ua_events without an instant": (
        f"{LEAST}{UA}[streams.ua_events.filter]\nexclude_historical = true",
        (
            "streams.ua_events.filter.historical_before: is missing: ua_events needs historical_before with it;"
            " write e.g."
            ' historical_before = "2026-11-01T00:00:00Z"'
        ),
    ),
    "instant of another stream": (
        f"{LEAST}[streams.events.filter]\nhistorical_before = '2026-11-01T00:00:00Z'",
        "streams.events.filter.historical_before: it applies only to ua_events; leave it out",
    ),
    "bad instant": (
        f"{LEAST}{UA}[streams.ua_events.filter]\nexclude_historical = true\nhistorical_before = '2026-13-01T00:00:00Z'",
        (
            'streams.ua_events.filter.historical_before: "2026-13-01T00:00:00Z" is not a valid instant; write'
            " date, time"
            " and offset,"
            ' e.g. "2026-11-01T00:00:00Z"'
        ),
    ),
    "instant before all time": (
        f"{LEAST}{UA}[streams.ua_events.filter]\nhistorical_before = 0001-01-01T00:00:00+10:00",
        (
            "streams.ua_events.filter.historical_before: 0001-01-01 00:00:00+10:00 is not a valid instant;"
            " write date, time and"
            ' offset, e.g. "2026-11-01T00:00:00Z"'
        ),
    ),
    "no environments": (
        f"{LEAST}[streams.events.filter]\nenvironments = []",
        'streams.events.filter.environments: must be a list of names, e.g. ["Production"]; leave it out to keep all',
    ),
    "environment in text": (
        f"{LEAST}[streams.events.filter]\nenvironments = 'Production'",
        (
            'streams.events.filter.environments: "Production" must be a list of names, e.g. ["Production"];'
            " leave it out to"
            " keep all"
        ),
    ),
    # environment
    "missing variable": (
        kafka("instance_id = '${HOSTNAME}'"),
        "kafka.instance_id: takes ${HOSTNAME} from the environment, but it is not set; set HOSTNAME or write a value",
    ),
    "missing variable of a required key": (
        LEAST.replace("localhost:9092", "${BROKERS}"),
        (
            "kafka.bootstrap_servers: takes ${BROKERS} from the environment, but it is not set; set BROKERS"
            " or write a"
            " value"
        ),
    ),
    "missing variable in a list": (
        f"{LEAST}[streams.events.filter]\nenvironments = ['${{E}}']",
        (
            "streams.events.filter.environments.0: takes ${E} from the environment, but it is not set; set E"
            " or write a"
            " value"
        ),
    ),
    "reference that is none": (
        kafka("group_id = 'a${1}'"),
        'kafka.group_id: contains "${" without a name and "}"; write ${NAME}, or $${ for the characters themselves',
    ),
    "nested too deep": (
        f"{LEAST}[kafka.options.{'.'.join('a' * 40)}]\nx = 1",
        f"kafka.options.{'.'.join('a' * 14)}: is nested too deep; no setting is at that depth",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_one_mistake_is_told_once_with_its_key_and_the_way_out(case: str, told: Told) -> None:
    text, words = CASES[case]
    assert told(text) == [words]


@pytest.mark.parametrize("option", FIXED_OPTIONS)
@pytest.mark.parametrize("value", ['"x"', "true", "1"])
def test_options_that_the_seal_log_rests_on_are_refused(option: str, value: str, told: Told) -> None:
    (line,) = told(kafka(f'options = {{ "{option}" = {value} }}'))
    assert line == f'kafka.options."{option}": cannot be overridden: {FIXED_OPTIONS[option]}'


def test_the_refused_options_are_those_of_the_design() -> None:
    fixed_by_us = {
        "enable.auto.commit",
        "enable.auto.offset.store",
        "auto.offset.reset",
        "isolation.level",
        "enable.partition.eof",
        "partition.assignment.strategy",
        "group.instance.id",
        "group.id",
        "bootstrap.servers",
    }
    assert fixed_by_us <= set(FIXED_OPTIONS)


def test_a_dotted_option_is_refused_like_a_quoted_one(told: Told) -> None:
    (line,) = told(f"{LEAST}[kafka.options]\nenable.auto.commit = true")
    assert line.startswith('kafka.options."enable.auto.commit": cannot be overridden')


@pytest.mark.parametrize("name", ["unknown.avsc", "enum.avsc"])
def test_a_schema_that_is_no_avro_record_says_why(name: str, told: Told) -> None:
    (line,) = told(f"{LEAST}{CLICKS}".replace("clicks.avsc", name))
    assert re.fullmatch(r"streams\.clicks\.schema: .+; fix the file", line)
    (line,) = told(f'{LEAST}writer_schema = "{name}"')
    assert line.startswith("streams.events.writer_schema: ")


@pytest.mark.parametrize("text", ['{"type": "record", "doc": "\\ud83d"}', "[" * 100_000])
def test_a_schema_that_no_parser_takes_is_a_mistake(text: str, told: Told, tmp_path: Path) -> None:
    (tmp_path / "clicks.avsc").write_text(text)
    assert told(f"{LEAST}{CLICKS}") == [
        'streams.clicks.schema: "clicks.avsc" is not JSON in UTF-8; write the path of an Avro schema (.avsc)'
    ]


def test_a_number_too_long_to_print_is_a_mistake(told: Told) -> None:
    assert told(f"{LEAST}[spool]\nmax_bytes = 0x{'F' * 5000}") == [
        'spool.max_bytes: this number is not a valid size; write a whole number of bytes, or "500MB" or "20GiB"'
    ]


def test_a_registry_list_with_a_hole_is_a_mistake(told: Told) -> None:
    assert told(f"{LEAST}[schema_registry]\nurl = 'http://a,'") == [
        'schema_registry.url: "http://a," is not the URL of a schema registry; write e.g. "http://localhost:8081"'
    ]


MANY = """
typo = 1
[kafka]
bootstrap_servers = "no-port"
instance_id = "${HOSTNAME}"
options = { "enable.auto.commit" = true, "sasl.password" = [1] }
[destination]
url = "adapty-events"
region = 7
server_side_encryption = "aws:kms"
access_key_id = "id"
[spool]
max_bytes = "lots"
checkpoint_seconds = "${SECONDS}"
[schedule]
seal_at = "4 am"
give_up_after = "soon"
[http]
listen = "nowhere"
[quarantine]
max_ratio = 2
[streams.events]
start = "now"
format = "avro-registry"
colour = "red"
[streams.events.event_types]
paused = "off"
[streams.events.filter]
environments = "Production"
[streams.clicks]
topic = "c"
schema = "missing.avsc"
[streams.ua_events]
topic = "c"
[streams.ua_events.filter]
exclude_historical = true
[streams.ua_campaign_metrics]
topic = "m"
kind = "metrics"
"""


def test_all_mistakes_of_a_file_are_told_at_once_each_on_its_line(told: Told) -> None:
    problems = told(MANY)
    assert [line.partition(": ")[0] for line in problems] == [
        "kafka.instance_id",
        "spool.checkpoint_seconds",
        "typo",
        'kafka.options."sasl.password"',
        "kafka.bootstrap_servers",
        'kafka.options."enable.auto.commit"',
        "spool.max_bytes",
        "schedule.seal_at",
        "schedule.give_up_after",
        "http.listen",
        "quarantine.max_ratio",
        "destination.url",
        "destination.region",
        "streams.events.start",
        "streams.events.colour",
        "streams.events.topic",
        "streams.events.format",
        "streams.events.event_types.paused",
        "streams.events.filter.environments",
        "destination.secret_access_key",
        "destination.kms_key_id",
        "streams.clicks.time_field",
        "streams.clicks.schema",
        "streams.ua_events.filter.historical_before",
        "streams.ua_campaign_metrics.kind",
        "streams.ua_events.topic",
    ]


def test_mistakes_do_not_hide_each_other(told: Told) -> None:
    """Each mistake of one key stands whatever else is wrong: two files' mistakes are told by their union."""
    alone = [told(CASES[name][0]) for name in ("unknown key", "bad region", "size without a unit")]
    text = kafka("group = 'x'").replace("[streams", "region = 'Frankfurt'\n[streams") + "[spool]\nmax_bytes = '20'"
    assert sorted(told(text)) == sorted(line for lines in alone for line in lines)


PLANTED = "Zm9vYmFy-planted-secret"
LEAKS: dict[str, str] = {
    "secret of a wrong type": base(f"access_key_id = 'id'\nsecret_access_key = ['{PLANTED}']"),
    "secret of two lines": base(f'access_key_id = "id"\nsecret_access_key = "{PLANTED}\\n"'),
    "secret under a wrong name": base(f"secret_key = '{PLANTED}'"),
    "secret in the wrong table": f"{LEAST}[spool]\npassword = '{PLANTED}'",
    "secret in the destination": LEAST.replace("s3://", f"s3://me:{PLANTED}@"),
    "secret with a slash in the destination": LEAST.replace("s3://", f"s3://me:a/b{PLANTED}/c@"),
    "secret in the endpoint": base(f"endpoint_url = 'https://me:{PLANTED}@host'"),
    "secret in a bad endpoint": base(f"endpoint_url = 'https://me:{PLANTED}@ho st:1'"),
    "secret in the brokers": LEAST.replace("localhost", f"me:{PLANTED}@localhost:x"),
    "secret in the registry": f"{LEAST}[schema_registry]\nurl = 'ftp://me:{PLANTED}@host'",
    "secret as an option of a wrong type": kafka(f'options = {{ "sasl.password" = ["{PLANTED}"] }}'),
    "secret as an option we set": kafka(f'options = {{ "group.id" = "{PLANTED}" }}'),
    "secret as the protocol": kafka(f'options = {{ "group.protocol" = "{PLANTED}" }}'),
    "secret from the environment": base("compression = '${SECRET}'"),
    "secret from the environment as topic": LEAST.replace("adapty.events", "^${SECRET}"),
    "secret from the environment as url": LEAST.replace("s3://", "${SECRET}"),
    "secret from the environment as start": f"{LEAST}start = '${{SECRET}}'",
    "secret from the environment as kind": f"{LEAST}kind = '${{SECRET}}'",
    "secret from the environment as schema": f"{LEAST}schema = '${{SECRET}}'",
    "secret from the environment as time field": f"{LEAST}time_field = '${{SECRET}}'",
    "secret from the environment as event type": (
        f"{LEAST}[streams.events.event_types]\nx = '${{SECRET}}'\n[streams.events.filter]\nenvironments = '${{SECRET}}'"
    ),
    "secret in broken TOML": base(f"secret_access_key = '{PLANTED}"),
}


@pytest.mark.parametrize("case", LEAKS)
def test_no_secret_is_in_the_words(case: str, tmp_path: Path) -> None:
    path = tmp_path / "sink.toml"
    path.write_text(LEAKS[case])
    with pytest.raises(UsageError) as error:
        load_settings(path, {"SECRET": PLANTED})
    shown: BaseException | None = error.value
    while shown is not None:
        assert PLANTED not in str(shown) + repr(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)
