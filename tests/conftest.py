"""Fixtures for real servers: those that the environment names, else started here, else a skip (a failure in CI).

Shared by all tests of a run: `kafka`, `minio`, `registry`, `toxiproxy`. Nobody stops, pauses or slows these: a test
that is rough takes its own (`own_kafka`, `own_minio`, ...) or goes through a proxy of its own (`proxied_kafka`,
`proxied_minio`).
"""

import atexit
import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree
from typing import NoReturn, Protocol, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

from tests.harness.forkserver import read_models_once
from tests.services import fetch, shared
from tests.services.errors import Unavailable
from tests.services.kafka import Kafka, KafkaAddress, unique_topic
from tests.services.process import Server
from tests.services.prometheus import Prometheus
from tests.services.s3 import MinIO, S3Address, VersityGW, unique_bucket
from tests.services.toxiproxy import Proxy, ToxiproxyAddress

_RUN = pytest.StashKey[shared.Run]()
_COMPUTING = {"unit", "fuzz", "simulation"}
"""The folders whose tests wait for nobody: each further worker only imports the same once more."""
_LONGEST = "test_three_brokers.py"
"""One test that waits for a minute: begun last it would be waited for with idle cores."""
_SPARE_DETOURS = 2  # for workers that replace crashed ones
_GIVEN_STORE = (  # taken at once: tests take the keys out of the environment
    S3Address(os.environ["S3_ENDPOINT_URL"], os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    if os.environ.get("S3_ENDPOINT_URL")
    else None
)

settings.register_profile(  # a busy machine is no failure
    "no deadline", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("no deadline")

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound=Server)


class TopicFactory(Protocol):
    """Makes a topic of the shared Kafka and returns its unique name."""

    def __call__(
        self, partitions: int = 1, *, prefix: str = "topic", config: Mapping[str, str] | None = None
    ) -> str: ...


class BucketFactory(Protocol):
    """Makes a bucket of the shared store and returns its unique name."""

    def __call__(self, *, prefix: str = "bucket") -> str: ...


class KafkaFactory(Protocol):
    """Starts a Kafka for this test alone."""

    def __call__(
        self, *, extra: Mapping[str, str] | None = None, listeners: Mapping[str, str] | None = None
    ) -> Kafka: ...


class PrometheusFactory(Protocol):
    """Starts a Prometheus for this test alone."""

    def __call__(self, targets: Sequence[str] = (), rules: Sequence[Path] = ()) -> Prometheus: ...


@dataclass(frozen=True, slots=True)
class ProxiedKafka:
    """The run's Kafka: clients of `bootstrap_servers` stay behind `proxy`, those of `direct` go beside it."""

    direct: KafkaAddress
    bootstrap_servers: str
    proxy: Proxy


@dataclass(frozen=True, slots=True)
class ProxiedStore:
    """The run's store: clients of `address` go through `proxy`, those of `direct` beside it."""

    direct: S3Address
    address: S3Address
    proxy: Proxy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest test first; all others in their order."""
    items.sort(key=lambda item: item.path.name != _LONGEST)


def pytest_configure(config: pytest.Config) -> None:
    """The process that runs the workers (or all tests itself) owns the shared servers."""
    if not hasattr(config, "workerinput"):
        config.stash[_RUN] = shared.Run()


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """For `-n auto`: one for each processor; where tests wait for servers twice as many, up to eight."""
    processors = os.cpu_count() or 1
    if all(_COMPUTING & set(Path(argument.partition("::")[0]).parts) for argument in config.args):
        return processors
    return max(processors, min(2 * processors, 8))


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes that are no text are named by their length: what is packed may hold the time, which differs by worker."""
    if isinstance(val, bytes) and not (val.isascii() and val.decode().isprintable()):
        return f"{len(val)}-bytes"
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Have no garbage collector look at what only grows: that takes a fifth of the time of collecting."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have the garbage collector pass over what stays to the end: modules, and thousands of tests."""
    gc.freeze()
    atexit.register(gc.unfreeze)  # what ends with the process finds its own


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Save what was traced (`make coverage`): pytest-xdist does not wait long for the end of its workers."""
    if hasattr(session.config, "workerinput") and "coverage" in sys.modules:
        from coverage import Coverage  # noqa: PLC0415 - loaded already, where anything is traced

        if (tracing := Coverage.current()) is not None:
            tracing.stop()
            tracing.save()


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the shared servers."""
    if run := config.stash.get(_RUN, None):
        run.end()


@pytest.fixture(scope="session")
def kafka() -> KafkaAddress:
    """A Kafka for all tests: KAFKA_BOOTSTRAP_SERVERS, or one broker of this run."""
    if given := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        return KafkaAddress(given)
    return _or_missing(_run_kafka)


@pytest.fixture(scope="session")
def minio() -> S3Address:
    """An S3 store for all tests: S3_ENDPOINT_URL with its AWS keys, or this run's MinIO."""
    read_models_once()  # each test makes clients of its own
    return _GIVEN_STORE or _or_missing(shared.minio)


@pytest.fixture(scope="session")
def registry() -> str:
    """URL of a schema registry for all tests: SCHEMA_REGISTRY_URL, or this run's Apicurio. Name subjects uniquely."""
    return os.environ.get("SCHEMA_REGISTRY_URL") or _or_missing(shared.registry)


@pytest.fixture(scope="session")
def toxiproxy() -> ToxiproxyAddress:
    """A toxiproxy for all tests; each makes its own proxies."""
    return _or_missing(shared.toxiproxy)


@pytest.fixture
def topic(kafka: KafkaAddress) -> Iterator[TopicFactory]:
    """Make topics of `kafka`; those of a given Kafka are deleted at the end."""
    made: list[str] = []

    def make(partitions: int = 1, *, prefix: str = "topic", config: Mapping[str, str] | None = None) -> str:
        name = unique_topic(prefix)
        kafka.create_topic(name, partitions, config)
        made.append(name)
        return name

    yield make
    if "KAFKA_BOOTSTRAP_SERVERS" in os.environ:
        for name in made:
            kafka.delete_topic(name)


@pytest.fixture
def bucket(minio: S3Address) -> Iterator[BucketFactory]:
    """Make buckets of `minio`; those of a given store are deleted at the end."""
    made: list[str] = []

    def make(*, prefix: str = "bucket") -> str:
        name = unique_bucket(prefix)
        minio.make_bucket(name)
        made.append(name)
        return name

    yield make
    if "S3_ENDPOINT_URL" in os.environ:
        for name in made:
            minio.remove_bucket(name)


@pytest.fixture
def proxied_kafka(toxiproxy: ToxiproxyAddress) -> Iterator[ProxiedKafka]:
    """This run's Kafka behind a proxy that is this test's own."""
    direct = _or_missing(_run_kafka)
    detour = direct.detours[_worker()]
    with toxiproxy.proxy(detour.upstream, detour.address) as proxy:
        yield ProxiedKafka(direct, detour.address, proxy)


@pytest.fixture
def proxied_minio(toxiproxy: ToxiproxyAddress) -> Iterator[ProxiedStore]:
    """This run's MinIO behind a proxy that is this test's own."""
    direct = _or_missing(shared.minio)
    with toxiproxy.proxy(direct.endpoint_url.removeprefix("http://")) as proxy:
        yield ProxiedStore(direct, replace(direct, endpoint_url=f"http://{proxy.address}"), proxy)


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaFactory]:
    """Start brokers that the test may restart, kill, pause, or set up in its own way."""
    with ExitStack() as stack:

        def make(*, extra: Mapping[str, str] | None = None, listeners: Mapping[str, str] | None = None) -> Kafka:
            return _own(stack, Kafka(_folder(tmp_path, "kafka"), extra=extra, listeners=listeners))

        yield make


@pytest.fixture
def own_minio(tmp_path: Path) -> Iterator[Callable[[], MinIO]]:
    """Start stores that the test may restart, kill or pause."""
    with ExitStack() as stack:
        yield lambda: _own(stack, MinIO(_folder(tmp_path, "minio")))


@pytest.fixture
def versitygw(tmp_path: Path) -> Iterator[VersityGW]:
    """A store whose conditional writes do not hold in races."""
    with ExitStack() as stack:
        yield _own(stack, VersityGW(_folder(tmp_path, "versitygw")))


@pytest.fixture
def prometheus_server(tmp_path: Path) -> Iterator[PrometheusFactory]:
    """Start Prometheus servers that scrape the given host:port targets."""
    with ExitStack() as stack:

        def make(targets: Sequence[str] = (), rules: Sequence[Path] = ()) -> Prometheus:
            return _own(stack, Prometheus(_folder(tmp_path, "prometheus"), targets, rules))

        yield make


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """Get a program that `tests.services.fetch` knows, such as `promtool`."""
    return lambda name: _or_missing(fetch.ALL[name])


def _run_kafka() -> KafkaAddress:
    return shared.kafka(int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) + _SPARE_DETOURS)


def _worker() -> int:
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def _own(stack: ExitStack, server: ServerT) -> ServerT:
    """Start a server that ends with the test; its log stays with the test's files, its data does not."""
    stack.callback(rmtree, server.folder / "data", ignore_errors=True)
    stack.callback(server.kill)
    _or_missing(server.start)
    return server


def _folder(base: Path, name: str) -> Path:
    return base / f"{name}-{uuid4().hex[:6]}"


def _or_missing(obtain: Callable[[], T]) -> T:
    try:
        return obtain()
    except Unavailable as error:
        _missing(error)


def _missing(error: Unavailable) -> NoReturn:
    """Skip for want of a server, or fail where all must be there."""
    if os.environ.get("REQUIRE_SERVICES") == "1":
        pytest.fail(f"REQUIRE_SERVICES=1, but: {error}", pytrace=False)
    pytest.skip(str(error))
