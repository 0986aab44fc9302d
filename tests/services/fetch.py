"""What each server is made from: jars by Maven and programs by Go, pinned; Prometheus as Debian has it."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from tests.services import cache
from tests.services.errors import Unavailable

KAFKA = os.environ.get("KAFKA_VERSION") or "4.1.1"
"""Another release is tried by naming it: docs/reliability.md has what was."""
REGISTRY = "3.3.3"
MINIO = "v0.0.0-20260212201848-7aac2a2c5b7c"
VERSITYGW = "v1.7.0"
GOFAKES3 = "v1.2.0"
S3PROXY = "2.6.0"
S3RVER = "3.7.1"
S3MOCK = "4.7.0"
RCLONE = "v1.76.0"
SEAWEEDFS = "v0.0.0-20261109003541-7506e5f91cd6"
TOXIPROXY = "v2.12.0"
COMPOSE = "v2.16.2"
KUSTOMIZE = "v5.5.0"
PROMETHEUS_OPERATOR = "v0.85.0"

QUICK_JAVA = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""Options of a JVM that starts with half the processor time, and compiles little afterwards."""

_POMS = Path(__file__).parent
_FETCH_SECONDS = 1200  # MinIO compiles for minutes on two cores
_TRIES = 3


def kafka() -> Path:
    """The folder of Kafka's jars."""
    return cache.once(f"kafka-{KAFKA}", lambda folder: _maven("kafka", "copy-dependencies", folder, KAFKA))


def registry() -> Path:
    """The folder of the unpacked Apicurio registry, which holds `quarkus-run.jar`."""
    folder = cache.once(f"apicurio-registry-{REGISTRY}", _unpack_registry)
    return next(folder.rglob("quarkus-run.jar")).parent


def minio() -> Path:
    """The MinIO program."""
    return _go(f"minio-{MINIO}", f"github.com/minio/minio@{MINIO}") / "minio"


def versitygw() -> Path:
    """The versitygw program."""
    return _go(f"versitygw-{VERSITYGW}", f"github.com/versity/versitygw/cmd/versitygw@{VERSITYGW}") / "versitygw"


def gofakes3() -> Path:
    """The gofakes3 program."""
    return _go(f"gofakes3-{GOFAKES3}", f"github.com/johannesboyne/gofakes3/cmd/gofakes3@{GOFAKES3}") / "gofakes3"


def s3proxy() -> Path:
    """The folder of s3proxy's jars."""
    return cache.once(f"s3proxy-{S3PROXY}", lambda folder: _maven("s3proxy", "copy-dependencies", folder, S3PROXY))


def s3rver() -> Path:
    """The s3rver program, by npm."""
    npm = ["npm", "install", "--silent", "--prefix"]
    folder = cache.once(f"s3rver-{S3RVER}", lambda folder: _run([*npm, str(folder), f"s3rver@{S3RVER}"], {}))
    return folder / "node_modules" / ".bin" / "s3rver"


def s3mock() -> Path:
    """The jar of Adobe's s3mock."""
    folder = cache.once(f"s3mock-{S3MOCK}", lambda folder: _maven("s3mock", "copy", folder, S3MOCK))
    return next(folder.glob("*.jar"))


def rclone() -> Path:
    """The rclone program."""
    return _go(f"rclone-{RCLONE}", f"github.com/rclone/rclone@{RCLONE}") / "rclone"


def seaweedfs() -> Path:
    """The SeaweedFS program."""
    return cache.once(f"seaweedfs-{SEAWEEDFS}", _build_seaweedfs) / "weed"


def toxiproxy() -> Path:
    """The toxiproxy server program."""
    return _go(f"toxiproxy-{TOXIPROXY}", f"github.com/Shopify/toxiproxy/v2/cmd/server@{TOXIPROXY}") / "server"


def compose() -> Path:
    """The program that reads and checks a docker-compose.yml as Docker does, without an engine."""
    return _go(f"compose-go-{COMPOSE}", f"github.com/compose-spec/compose-go/v2/cmd@{COMPOSE}") / "cmd"


def prometheus() -> Path:
    """The Prometheus server: this machine's own, else Debian's."""
    return _own_or_debian("prometheus", "prometheus")


def promtool() -> Path:
    """The program that checks rules and runs their unit tests: this machine's own, else Debian's."""
    return _own_or_debian("promtool", "prometheus")


def kustomize() -> Path:
    """The program that builds Kubernetes manifests from a base and an overlay."""
    return _go(f"kustomize-{KUSTOMIZE}", f"sigs.k8s.io/kustomize/kustomize/v5@{KUSTOMIZE}") / "kustomize"


def prometheus_crds() -> Path:
    """The folder of the Prometheus operator's resource definitions, which hold their schemas."""
    return cache.once(f"prometheus-crds-{PROMETHEUS_OPERATOR}", _unpack_crds)


def chromium() -> Path:
    """The browser, this machine's own: it needs too many libraries to be unpacked without root."""
    return _program("chromium")


ALL: Mapping[str, Callable[[], Path]] = {
    "kafka": kafka,
    "minio": minio,
    "registry": registry,
    "toxiproxy": toxiproxy,
    "versitygw": versitygw,
    "compose": compose,
    "prometheus": prometheus,
    "promtool": promtool,
    "kustomize": kustomize,
    "prometheus-crds": prometheus_crds,
    "chromium": chromium,
}


@lru_cache
def java(minimum: int) -> Path:
    """The oldest Java on this machine that is at least `minimum`; Unavailable if none is."""
    found = {version: path for path in reversed(_javas()) if (version := _java_version(path)) >= minimum}
    if not found:
        raise Unavailable(f"needs Java {minimum} or later (set JAVA_HOME)")
    return found[min(found)]


def _javas() -> list[Path]:
    """Every Java to try, the best known first."""
    places = [Path(home) / "bin/java"] if (home := os.environ.get("JAVA_HOME")) else []
    if on_path := shutil.which("java"):
        places.append(Path(on_path))
    for folder, pattern in (
        ("/usr/lib/jvm", "*/bin/java"),
        ("/opt", "*/bin/java"),
        ("~/.sdkman/candidates", "java/*/bin/java"),
    ):
        places.extend(sorted(Path(folder).expanduser().glob(pattern)))
    return [path for path in places if os.access(path, os.X_OK)]


@lru_cache(20)
def _java_version(path: Path) -> int:
    """Its main version, 0 if it does not say one."""
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False, timeout=30).stderr
    match = re.search(r'version "(\d+)', said)
    return int(match[1]) if match else 0


def _unpack_registry(folder: Path) -> None:
    _maven("registry", "copy", folder)
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()


def _maven(pom: str, goal: str, folder: Path, version: str = "") -> None:
    """Run one goal of the dependency plugin on `pom-<pom>.xml`, checksums enforced, into `folder`."""
    command = [str(_program("mvn")), "-q", "-B", "-C", "-f", str(_POMS / f"pom-{pom}.xml")]
    _run([*command, f"dependency:{goal}", f"-DoutputDirectory={folder}", f"-D{pom}.version={version}"], {})


def _go(name: str, package: str) -> Path:
    go = str(_program("go"))
    return cache.once(name, lambda folder: _run([go, "install", package], {"GOBIN": str(folder), "GOFLAGS": ""}))


def _build_seaweedfs(folder: Path) -> None:
    """As a part of a module of ours: its own replaces others, and such a one cannot be installed by name."""
    go, program = str(_program("go")), "github.com/seaweedfs/seaweedfs/weed"
    for command in (
        ["mod", "init", "example.test/weed"],
        ["get", f"{program}@{SEAWEEDFS}"],
        ["build", "-o", str(folder / "weed"), program],
    ):
        _run([go, *command], {"GOFLAGS": "-mod=mod"}, folder)


def _unpack_crds(folder: Path) -> None:
    """They come with the operator's Go module."""
    module = f"github.com/prometheus-operator/prometheus-operator@{PROMETHEUS_OPERATOR}"
    modules = folder / "modules"
    go = [str(_program("go")), "mod", "download", "-modcacherw", "-json", module]
    _run(go, {"GOMODCACHE": str(modules), "GOFLAGS": ""}, folder)
    for crd in (modules / module / "example/prometheus-operator-crd").glob("*.yaml"):
        crd.rename(folder / crd.name)
    shutil.rmtree(modules)


def _own_or_debian(program: str, package: str) -> Path:
    """A program of this machine, else out of Debian's package, which is unpacked and not installed: no root needed."""
    if found := shutil.which(program):
        return Path(found)
    return cache.once(f"{package}-debian", lambda folder: _unpack_debian(package, folder)) / program


def _unpack_debian(package: str, folder: Path) -> None:
    """Put the programs of a package into `folder`; apt keeps its lists there too, so nothing else is touched."""
    work = folder / "apt"
    for part in ("state/lists/partial", "cache/archives/partial", "tree"):
        (work / part).mkdir(parents=True)
    settings = {
        "Dir::State": work / "state",
        "Dir::State::status": "/dev/null",
        "Dir::Cache": work / "cache",
        "APT::Sandbox::User": "root",
    }
    apt = [str(_program("apt-get")), "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
    _run([*apt, "update"], {})
    _run([*apt, "download", package], {}, work)
    _run([str(_program("dpkg-deb")), "-x", str(next(work.glob("*.deb"))), str(work / "tree")], {})
    for program in (work / "tree/usr/bin").iterdir():
        program.rename(folder / program.name)
    shutil.rmtree(work)


def _program(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not on PATH")
    return Path(found)


def _run(command: list[str], extra: Mapping[str, str], folder: Path | None = None) -> None:
    """Run a download, again if it fails: a registry may be short of breath."""
    said = ""
    for _ in range(_TRIES):
        try:
            done = subprocess.run(
                command,
                cwd=folder,
                env={**os.environ, **extra},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=_FETCH_SECONDS,
            )
        except subprocess.TimeoutExpired:
            said = f"no end after {_FETCH_SECONDS} s"
            continue
        if done.returncode == 0:
            return
        said = (done.stdout + done.stderr)[-2000:]
    raise Unavailable(f"{' '.join(command)}: {said}")
