"""Kafka with KRaft: one node that is broker and controller, or three. Releases before 3.3 with ZooKeeper beside it."""

import shlex
import subprocess
import time
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from shutil import copyfile, rmtree
from typing import ClassVar, Self
from uuid import uuid4

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.services import cache, fetch, ports
from tests.services.errors import ServerError
from tests.services.process import Server

_JAVA = 17
_CLUSTER = "adapty-sink-tests-0000"  # 22 characters of base64url, as the format tool wants
_QUIET = {"log_level": 0, "socket.connection.setup.timeout.ms": 1000}  # a broker that is still coming up is no news

STEADY = ("-Xmx1g", "-Xms256m", "-XX:+UseG1GC")
"""Of a JVM that is measured: it takes its time to compile well."""
_TERSE = ("-XX:-UsePerfData", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
_LARGE = ("-Xmx1g", "-Xms256m", *fetch.QUICK_JAVA, *_TERSE)
_SMALL = ("-Xmx256m", *fetch.QUICK_JAVA, *_TERSE)
_FEATURES = "bootstrap.checkpoint"
"""The file of a new broker's folder that says which features the release has."""
_CLASSES = "classes.jsa"
_KEEPER_CLASS = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
RELEASE = tuple(int(part) for part in fetch.KAFKA.split(".")[:2])
"""What KAFKA_VERSION says."""
_KEEPER_BESIDE = RELEASE < (3, 3)
"""Before it ZooKeeper has the cluster's state."""
_SAFE = {
    "group.consumer.session.timeout.ms": "30000",  # longer than a coordinator takes to move
    "group.consumer.max.session.timeout.ms": "60000",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}

# Timers that a test would else wait for.
_FAST = {
    "broker.session.timeout.ms": "3000",  # a killed broker's name is free again after that
    "broker.heartbeat.interval.ms": "500",
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "group.coordinator.rebalance.protocols": "classic,consumer",
    "group.consumer.min.session.timeout.ms": "500",
    "group.consumer.min.heartbeat.interval.ms": "100",
    "group.consumer.session.timeout.ms": "3000",
    "group.consumer.heartbeat.interval.ms": "300",
    "offsets.topic.num.partitions": "4",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "2",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "log.initial.task.delay.ms": "500",
    "log.retention.check.interval.ms": "500",
    "log.segment.delete.delay.ms": "100",
    "log.cleaner.backoff.ms": "500",
    "metadata.max.idle.interval.ms": "10000",  # else it writes, and reads, a record of nothing twice a second
    "num.network.threads": "2",
    "num.io.threads": "4",
}


@dataclass(frozen=True, slots=True)
class Detour:
    """A listener whose clients are told to come through another port, where a proxy can stand in the way."""

    upstream: str
    """Address of the listener: where the proxy sends what it gets."""
    address: str
    """Address that clients use and that the broker tells them; nothing listens there until a proxy does."""


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where a Kafka is."""

    bootstrap_servers: str
    detours: tuple[Detour, ...] = ()
    replication: int = 1
    """Of the topics that are made here."""

    def admin(self) -> AdminClient:
        """A client for topics, groups and settings."""
        return AdminClient({"bootstrap.servers": self.bootstrap_servers})

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until each partition has a leader."""
        admin = self.admin()
        new = NewTopic(name, num_partitions=partitions, replication_factor=self.replication, config=_known(config))
        admin.create_topics([new])[name].result(30)
        until = time.monotonic() + 30
        while not _has_leaders(admin, name, partitions):
            if time.monotonic() > until:
                raise ServerError(f"topic {name} has no leaders after 30 s")
            time.sleep(0.02)

    def delete_topic(self, name: str) -> None:
        """Delete a topic; the broker forgets it a moment later."""
        admin = self.admin()  # a client that nobody holds is destroyed before it answers
        admin.delete_topics([name])[name].result(30)


def _known(config: Mapping[str, str] | None) -> dict[str, str]:
    """The settings of a topic as this release names them."""
    renamed = {} if RELEASE >= (3, 6) else {"message.timestamp.after.max.ms": "message.timestamp.difference.max.ms"}
    return {renamed.get(name, name): value for name, value in (config or {}).items()}


def _has_leaders(admin: AdminClient, name: str, partitions: int) -> bool:
    found = admin.list_topics(name, timeout=10).topics[name].partitions
    return len(found) == partitions and all(p.leader >= 0 and p.error is None for p in found.values())


class Kafka(Server):
    """One broker. `extra` are server properties; `listeners` names further listeners with their security protocol.

    `quorum` has the address of each controller of a cluster by its node; empty: it is alone. `jvm`: its Java options.
    """

    name: ClassVar[str] = "kafka"
    start_seconds: ClassVar[float] = 90

    def __init__(
        self,
        folder: Path,
        *,
        extra: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        detours: int = 0,
        node: int = 1,
        quorum: Mapping[int, str] | None = None,
        jvm: Sequence[str] = _LARGE,
    ) -> None:
        super().__init__(folder)
        self.node = node
        self._jvm = jvm
        self._quorum = dict(quorum or {})
        self._extra = dict(extra or {})
        self._protocols = {
            "PLAINTEXT": "PLAINTEXT",
            **(listeners or {}),
            **{f"DETOUR{n}": "PLAINTEXT" for n in range(detours)},
        }
        self._ports = {name: ports.free() for name in (*self._protocols, "CONTROLLER")}
        if self._quorum:
            self._ports["CONTROLLER"] = int(self._quorum[node].rpartition(":")[2])
        else:
            self._quorum[node] = self.listener("CONTROLLER")
        self._detours = {f"DETOUR{n}": ports.free() for n in range(detours)}

    @property
    def bootstrap_servers(self) -> str:
        """The address without security."""
        return self.listener("PLAINTEXT")

    def listener(self, name: str) -> str:
        """The address of a listener."""
        return f"{ports.HOST}:{self._ports[name]}"

    @property
    def address(self) -> KafkaAddress:
        """Its addresses, for those who need no process."""
        detours = tuple(Detour(self.listener(name), f"{ports.HOST}:{port}") for name, port in self._detours.items())
        return KafkaAddress(self.bootstrap_servers, detours)

    def admin(self) -> AdminClient:
        """A client for topics, groups and settings."""
        return self.address.admin()

    def create_topic(self, name: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        """Create a topic and wait until each partition has a leader."""
        self.address.create_topic(name, partitions, config)

    def command(self) -> list[str]:
        """The broker on its properties; the first time its folder is formatted."""
        properties = self.folder / "server.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self.properties().items()))
        jars = f"{fetch.kafka()}/*"
        java = str(fetch.java(_JAVA))
        broker = [java, *self._jvm, *self._loaded(java), "-cp", jars, "kafka.Kafka", str(properties)]
        if _KEEPER_BESIDE:
            return self._beside_a_keeper(broker, [java, "-Xmx256m", "-cp", jars, _KEEPER_CLASS])
        if not (data := self.folder / "data").exists():
            _format(data, self.node)
        return broker

    def _loaded(self, java: str) -> Sequence[str]:
        """Options that take a broker's classes from an archive, which spares half of what its start costs."""
        if self._jvm not in {_LARGE, _SMALL} or _KEEPER_BESIDE:
            return ()
        archive = _class_archive(java)
        return (f"-XX:SharedArchiveFile={archive}", "-Xshare:auto", "-Xlog:cds=off") if archive.exists() else ()

    def _beside_a_keeper(self, broker: list[str], keeper: list[str]) -> list[str]:
        """A shell that runs both: a signal to its group ends both."""
        file = self.folder / "zookeeper.properties"
        file.write_text(
            f"dataDir={self.folder / 'zookeeper'}\nclientPort={self._ports['CONTROLLER']}\n"
            f"clientPortAddress={ports.HOST}\nadmin.enableServer=false\n"
        )
        return ["/bin/sh", "-c", f"{shlex.join([*keeper, str(file)])} & exec {shlex.join(broker)}"]

    def is_ready(self) -> bool:
        """Whether the cluster lists it as a broker."""
        if not ports.listens(self._ports["PLAINTEXT"]):
            return False  # a client that is refused tries again ever more rarely
        admin = AdminClient({"bootstrap.servers": self.bootstrap_servers, **_QUIET})
        try:
            return self.node in admin.list_topics(timeout=1).brokers
        except KafkaException:
            return False

    def properties(self) -> dict[str, str]:
        """The whole server.properties."""
        listeners = {name: self.listener(name) for name in self._ports}
        told = {name: f"{ports.HOST}:{self._detours.get(name, port)}" for name, port in self._ports.items()}
        told.pop("CONTROLLER")
        if _KEEPER_BESIDE:
            listeners.pop("CONTROLLER")
        return {
            **self._roles(),
            "listeners": ",".join(f"{name}://{address}" for name, address in listeners.items()),
            "advertised.listeners": ",".join(f"{name}://{address}" for name, address in told.items()),
            "listener.security.protocol.map": ",".join(
                f"{name}:{protocol}" for name, protocol in {"CONTROLLER": "PLAINTEXT", **self._protocols}.items()
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            **_FAST,
            **self._extra,
        }

    def _roles(self) -> dict[str, str]:
        """What it is, and who the controllers are."""
        if _KEEPER_BESIDE:
            return {"broker.id": str(self.node), "zookeeper.connect": self.listener("CONTROLLER")}
        return {
            "process.roles": "broker,controller",
            "node.id": str(self.node),
            "controller.quorum.voters": ",".join(f"{node}@{address}" for node, address in self._quorum.items()),
            "controller.listener.names": "CONTROLLER",
        }


class _Trainee(Kafka):
    """One that writes down the classes it loaded as it ends, which takes a while."""

    stop_seconds: ClassVar[float] = 120


def _class_archive(java: str) -> Path:
    """The classes of a broker of this release on this Java; the first who asks has one start and end to make it."""
    program = Path(java).resolve()
    known = sha256(f"{program} {program.stat().st_mtime_ns}".encode()).hexdigest()[:8]
    return cache.once(f"kafka-classes-{fetch.KAFKA}-{known}", _archive_classes) / _CLASSES


def _archive_classes(folder: Path) -> None:
    with _Trainee(folder / "broker", jvm=(*_LARGE, f"-XX:ArchiveClassesAtExit={folder / _CLASSES}")):
        pass
    rmtree(folder / "broker")


class _Member(Kafka):
    """One of several that start at once."""

    start_seconds: ClassVar[float] = 200


class KafkaCluster:
    """Three brokers, each a controller too. Topics have three replicas, two of which must have a record."""

    def __init__(self, folder: Path) -> None:
        quorum = {node: f"{ports.HOST}:{ports.free()}" for node in (1, 2, 3)}
        self.brokers = [
            _Member(folder / f"kafka-{node}", extra=_SAFE, node=node, quorum=quorum, jvm=_SMALL) for node in quorum
        ]

    @property
    def address(self) -> KafkaAddress:
        """All three."""
        return KafkaAddress(",".join(broker.bootstrap_servers for broker in self.brokers), replication=3)

    def __enter__(self) -> Self:
        try:
            with ThreadPoolExecutor(len(self.brokers)) as pool:  # none is ready before two are there
                list(pool.map(lambda broker: broker.start(), self.brokers))
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End them, without a word: the last ones could not move their leaders anywhere."""
        for broker in self.brokers:
            broker.kill()

    def in_sync(self) -> bool:
        """Whether each partition has all its replicas."""
        topics = self.address.admin().list_topics(timeout=10).topics.values()
        return all(len(part.isrs) == len(part.replicas) for topic in topics for part in topic.partitions.values())


SECURE_LISTENERS = {"MTLS": "SSL", "SASL": "SASL_SSL", "BEARER": "SASL_SSL"}
"""Listeners that ask for a client's certificate, or over TLS for a user's password or token."""


def secure_properties(store: Path, trusted: Path, passwords: Mapping[str, str]) -> dict[str, str]:
    """Server properties of `SECURE_LISTENERS`: the broker's key and certificate, whom it trusts, users of PLAIN.

    Users of SCRAM-SHA-512 are made by the admin client once it runs. Tokens are taken unsigned, and a connection ends
    with its token.
    """
    modules = "org.apache.kafka.common.security"
    users = " ".join(f'user_{name}="{password}"' for name, password in passwords.items())
    stores = {"keystore": store, "truststore": trusted}
    return {
        **{
            f"listener.name.{name}.ssl.{kind}.{key}": value
            for name in ("mtls", "sasl", "bearer")
            for kind, path in stores.items()
            for key, value in {"type": "PEM", "location": str(path)}.items()
        },
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.bearer.sasl.enabled.mechanisms": "OAUTHBEARER",
        "listener.name.bearer.connections.max.reauth.ms": "60000",
        "listener.name.bearer.oauthbearer.sasl.jaas.config": f"{modules}.oauthbearer.OAuthBearerLoginModule required;",
        "listener.name.sasl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl.plain.sasl.jaas.config": f"{modules}.plain.PlainLoginModule required {users};",
        "listener.name.sasl.scram-sha-512.sasl.jaas.config": f"{modules}.scram.ScramLoginModule required;",
    }


def _format(data: Path, node: int) -> None:
    """Make a broker's folder as the format tool does, from one that it made for this release."""
    template = cache.once(f"kafka-format-{fetch.KAFKA}", _run_format_tool)
    data.mkdir()
    copyfile(template / "data" / _FEATURES, data / _FEATURES)
    directory = urlsafe_b64encode(uuid4().bytes).decode().rstrip("=")
    said = {"version": "1", "cluster.id": _CLUSTER, "node.id": str(node), "directory.id": directory}
    (data / "meta.properties").write_text("".join(f"{key}={value}\n" for key, value in said.items()))


def _run_format_tool(folder: Path) -> None:
    """A formatted folder: what it holds of the release's features is the same for every broker."""
    properties = folder / "server.properties"
    properties.write_text(
        f"process.roles=broker,controller\nnode.id=1\nlog.dirs={folder / 'data'}\n"
        f"listeners=PLAINTEXT://{ports.HOST}:1,CONTROLLER://{ports.HOST}:2\ncontroller.listener.names=CONTROLLER\n"
        f"controller.quorum.voters=1@{ports.HOST}:2\n"
    )
    tool = [str(fetch.java(_JAVA)), *_SMALL, "-cp", f"{fetch.kafka()}/*", "kafka.tools.StorageTool", "format"]
    command = [*tool, "-t", _CLUSTER, "-c", str(properties)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise ServerError(f"kafka: its folder could not be formatted: {done.stdout[-2000:]}{done.stderr[-2000:]}")


def unique_topic(prefix: str = "topic") -> str:
    """A name that no other test has."""
    return f"{prefix}-{uuid4().hex[:12]}"
