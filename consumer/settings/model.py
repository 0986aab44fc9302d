"""The settings as the rest of the program sees them: frozen, complete, secrets masked in every print.

Each field has its meaning as its description; a test compares `docs/settings.md` with these.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, InstanceOf, SecretStr

from consumer.domain.compression import Compression
from consumer.domain.location import Location, location_of
from consumer.settings import addresses, values
from consumer.settings.tables import GIB, MIB, Duration, OptionValue, Size, Table, Text, key, revealed
from consumer.streams.privacy import key_from
from consumer.streams.rules import MAX_RECORD, RowRules

_COMPRESSIONS = ", ".join(f"`{name}`" for name in get_args(Compression))
_STORAGE_CLASS = r"(?!GLACIER$|DEEP_ARCHIVE$)[A-Z0-9_-]{1,64}"


class KafkaSettings(Table):
    """`[kafka]`: the cluster and our group in it."""

    bootstrap_servers: Annotated[str, BeforeValidator(addresses.servers)] = key(
        "", "Bootstrap brokers: `host:port`, separated by commas.", default="", example='"localhost:9092"'
    )
    group_id: Text = key(
        '"adapty-sink"',
        "Consumer group. A second export of the same topics needs another group and another folder.",
        default="adapty-sink",
    )
    instance_id: Annotated[str, BeforeValidator(values.instance_id)] = key(
        '""',
        "Static member name, unique per worker: a restart within the session timeout causes no rebalance. Empty: none.",
        default="",
        example='"${HOSTNAME}"',
    )
    auth: Literal["", "msk-iam"] = key(
        '""',
        "`msk-iam`: IAM for AWS MSK, with credentials from the AWS chain; needs `adapty-sink[msk-iam]`. Empty: see"
        " `options`.",
        default="",
        example='"msk-iam"',
    )
    region: Annotated[str, BeforeValidator(values.region)] = key(
        '""',
        "AWS region of the brokers, for `auth`. Empty: from the brokers' names, else `region` of `[destination]`,"
        " else `AWS_REGION`.",
        default="",
        example='"eu-central-1"',
    )
    options: dict[str, OptionValue] = key(
        "{}",
        "Any librdkafka setting except those listed below; names in quotes or dotted.",
        default={},
        example='{ "security.protocol" = "SASL_SSL" }',
    )

    def plain_options(self) -> dict[str, str]:
        """The options as librdkafka takes them. Holds secrets in clear: never print it."""
        return {name: _as_text(value) for name, value in revealed(self.options).items()}


class RegistrySettings(Table):
    """`[schema_registry]`: needed only by `avro-registry` streams."""

    url: Annotated[str, BeforeValidator(addresses.registry_urls)] = key(
        "",
        "URL of the registry, several separated by commas. A `user:password@` in it becomes the option"
        " `basic.auth.user.info`.",
        default="",
        example='"http://localhost:8081"',
    )
    grace: Annotated[
        Duration, AfterValidator(values.within(timedelta(0), timedelta(days=1), 'must be between "0s" and "1d"'))
    ] = key(
        '"60s"',
        "How long the registry must report a schema as unknown before its records go to quarantine; the partition"
        " waits meanwhile.",
        default=timedelta(seconds=60),
    )
    options: dict[str, OptionValue] = key(
        "{}",
        "Options of confluent-kafka's registry client.",
        default={},
        example='{ "basic.auth.user.info" = "${REGISTRY_USER}:${REGISTRY_PASSWORD}" }',
    )

    def plain_options(self) -> dict[str, str | int | float | bool]:
        """The options as the registry's client takes them. Holds secrets in clear: never print it."""
        return revealed(self.options)


class DestinationSettings(Table):
    """`[destination]`: the folder that the sink owns, and how to write there. `[streams.X.destination]` overrides."""

    url: Annotated[str, BeforeValidator(addresses.destination_url)] = key(
        "", "`s3://bucket/folder` or `file:///folder`.", default="", example='"s3://adapty-events/com.sample-app"'
    )
    region: Annotated[str, BeforeValidator(values.region)] = key(
        '""', "AWS region. Empty: from the AWS chain.", default="", example='"eu-central-1"'
    )
    endpoint_url: Annotated[str, BeforeValidator(addresses.plain_http_url)] = key(
        '""',
        "Address of an S3 store other than AWS, e.g. MinIO. Empty: AWS.",
        default="",
        example='"https://minio:9000"',
    )
    access_key_id: Text = key(
        '""',
        "Access key. Empty: the standard AWS chain (IRSA, Pod Identity, profile, instance role).",
        default="",
        example='"${AWS_ACCESS_KEY_ID}"',
    )
    secret_access_key: Annotated[SecretStr, BeforeValidator(values.text)] = key(
        '""', "Secret key. Set both or neither.", default=SecretStr(""), example='"${AWS_SECRET_ACCESS_KEY}"'
    )
    role_arn: Annotated[
        str,
        BeforeValidator(
            values.matching(
                r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]{1,512}",
                'is not the ARN of a role; write e.g. "arn:aws:iam::123456789012:role/sink"',
            )
        ),
    ] = key(
        '""', "Role to assume on top of the credentials.", default="", example='"arn:aws:iam::123456789012:role/sink"'
    )
    external_id: Annotated[
        str,
        BeforeValidator(
            values.matching(
                r"[\w+=,.@:/-]{2,1224}", "is not a valid external id; write 2 to 1,224 letters, digits or +=,.@:/-"
            )
        ),
    ] = key(
        '""',
        "External id required by the role's trust policy; only with `role_arn`.",
        default="",
        example='"sink-7f3a"',
    )
    ca_bundle: Annotated[str, BeforeValidator(values.text)] = key(
        '""',
        "PEM file with the store's certificate authorities, if they are private; relative to the settings file."
        " Empty: the public ones.",
        default="",
        example='"/etc/sink/ca.pem"',
    )
    compression: Compression = key('"none"', f"Compression of data objects: {_COMPRESSIONS}.", default="none")
    server_side_encryption: Literal["", "AES256", "aws:kms"] = key(
        '""',
        "Encryption to request: `AES256` or `aws:kms`. Empty: the bucket's default.",
        default="",
        example='"AES256"',
    )
    kms_key_id: Text = key(
        '""', "Key for `aws:kms`.", default="", example='"arn:aws:kms:eu-central-1:123456789012:key/1234abcd"'
    )
    storage_class: Annotated[
        str,
        BeforeValidator(
            values.matching(
                _STORAGE_CLASS,
                'is not a storage class that allows immediate reads; write e.g. "STANDARD_IA"',
            )
        ),
    ] = key(
        '""',
        "Storage class of all objects; it must allow immediate reads. Empty: the bucket's default.",
        default="",
        example='"STANDARD_IA"',
    )
    addressing_style: Literal["auto", "path", "virtual"] = key(
        '"auto"', "Bucket in the path or in the host name. Some S3 stores support only `path`.", default="auto"
    )
    checksums: Literal["auto", "when_supported", "when_required"] = key(
        '"auto"',
        "Checksums to send with each request. `auto`: `when_supported` on AWS; with an `endpoint_url`, by a test of"
        " whether the store verifies them.",
        default="auto",
    )
    multipart_threshold: Annotated[
        Size, AfterValidator(values.within(5 * MIB, 5 * GIB, "is out of range; write 5MiB to 5GiB"))
    ] = key(
        '"1GiB"',
        "Objects above this size are uploaded in parts of 32 MiB (or of this size, if smaller), others in one"
        " request; between 5 MiB and 5 GiB.",
        default=GIB,
    )

    @property
    def location(self) -> Location:
        """Where it is; an empty one if no url is given."""
        return location_of(self.url) if self.url else Location()

    @property
    def scheme(self) -> str:
        """`s3` or `file`."""
        return self.location.scheme

    @property
    def bucket(self) -> str:
        """The bucket's name; empty for a local folder."""
        return self.location.bucket

    @property
    def folder(self) -> str:
        """The folder inside the bucket, without slashes at its ends; empty at the bucket's root."""
        return self.location.folder if self.bucket else ""

    @property
    def directory(self) -> Path:
        """The local folder of a `file://` destination."""
        return self.location.directory

    @property
    def effective_checksums(self) -> Literal["auto", "when_supported", "when_required"]:
        """The effective value of `checksums`: for AWS no test is needed."""
        return "when_supported" if self.checksums == "auto" and not self.endpoint_url else self.checksums


class SpoolSettings(Table):
    """`[spool]`: the local disk."""

    directory: Annotated[Path, BeforeValidator(values.folder)] = key(
        '"/var/lib/adapty-sink"',
        "Folder of the spool; each worker needs its own. Relative to the settings file.",
        default=Path("/var/lib/adapty-sink"),
    )
    checkpoint_seconds: Annotated[
        float,
        BeforeValidator(values.number),
        AfterValidator(values.within(0.1, 3600.0, "must be between 0.1 and 3600")),
    ] = key(
        "5",
        "Seconds between checkpoints of the spool; after a crash, newer rows are read again from Kafka.",
        default=5.0,
    )
    max_bytes: Annotated[Size, AfterValidator(values.within(1, 1 << 62, 'must be more than 0; write e.g. "20GiB"'))] = (
        key(
            '"20GiB"',
            "Size above which reading pauses (polling continues) and rows of due days are spilled.",
            default=20 * GIB,
        )
    )
    min_free_bytes: Size = key('"2GiB"', "The same if the disk has less free space than this.", default=2 * GIB)


class ScheduleSettings(Table):
    """`[schedule]`: when days are sealed."""

    seal_at: Annotated[timedelta, BeforeValidator(values.time_of_day)] = key(
        '"04:00"', "UTC time at which the previous day is sealed.", default=timedelta(hours=4)
    )
    give_up_after: Annotated[
        Duration,
        AfterValidator(values.within(timedelta(seconds=1), timedelta(days=7), 'must be between "1s" and "7d"')),
    ] = key(
        '"10m"',
        "One-shot commands exit with 4 when an outage lasts this long without progress.",
        default=timedelta(minutes=10),
    )


class HttpSettings(Table):
    """`[http]`: health, metrics and status."""

    listen: Annotated[str, BeforeValidator(addresses.listen)] = key(
        '"0.0.0.0:8080"', 'Address of the HTTP server, `host:port`. `""`: off.', default="0.0.0.0:8080"
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port to listen on, or None if the server is off."""
        if not self.listen:
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class QuarantineSettings(Table):
    """`[quarantine]`: how much of a seal may be unreadable."""

    max_ratio: Annotated[
        float, BeforeValidator(values.number), AfterValidator(values.within(0.0, 1.0, "must be between 0 and 1"))
    ] = key(
        "0.05",
        "Share of a seal's records in quarantine above which the partition halts.",
        default=0.05,
    )
    min_records: Annotated[
        int, BeforeValidator(values.whole), AfterValidator(values.within(1, 1 << 31, "must be 1 or more"))
    ] = key("10", "Minimum number of records in quarantine for a halt.", default=10)
    max_record: Annotated[Size, AfterValidator(values.within(1, 128 * MIB, "must be between 1 byte and 128MiB"))] = key(
        '"16MiB"',
        "Maximum size of a record (value, key and headers); a larger one goes to quarantine as `too_large`.",
        default=MAX_RECORD,
    )
    value: Literal["keep", "omit"] = key(
        '"keep"',
        "Key and value of quarantined records: `keep` them, or write null and the value's sha256 (`omit`).",
        default="keep",
    )


class PrivacySettings(Table):
    """`[privacy]`: the keys that columns are hashed with, by name. Old ones stay until no row needs them."""

    keys: dict[str, SecretStr] = key("{}", "HMAC keys by name.", default={})

    def key_bytes(self) -> dict[str, bytes]:
        """The keys in clear: never print them."""
        return {name: key_from(written.get_secret_value()) for name, written in self.keys.items()}


class StreamSettings(BaseModel):
    """One stream, complete. `rules` decide its rows; `start` counts where there is neither chain nor commit.

    `personal` are the columns about a person.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str
    kind: str
    topic: str
    start: Literal["earliest", "latest"] | datetime
    rules: InstanceOf[RowRules]
    personal: tuple[str, ...] = ()
    destination: DestinationSettings


class Settings(BaseModel):
    """One settings file, complete."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    kafka: KafkaSettings
    schema_registry: RegistrySettings | None
    spool: SpoolSettings
    schedule: ScheduleSettings
    http: HttpSettings
    quarantine: QuarantineSettings
    privacy: PrivacySettings = PrivacySettings()
    streams: tuple[StreamSettings, ...]
    from_environment: tuple[tuple[str, SecretStr], ...] = ()
    """The keys that took something by `${NAME}`, and what: for masking."""

    def stream(self, name: str) -> StreamSettings | None:
        """The stream of this name, or None."""
        return next((stream for stream in self.streams if stream.name == name), None)

    def stream_of(self, topic: str) -> StreamSettings | None:
        """The stream that this topic feeds, or None."""
        return next((stream for stream in self.streams if stream.topic == topic), None)


def _as_text(value: str | float | bool) -> str:  # noqa: FBT001 - a value, no switch
    return str(value).lower() if isinstance(value, bool) else str(value)
