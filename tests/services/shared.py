"""One server for all workers of a test run: started by the first who asks, ended with the run.

Who owns the run holds a lock in its folder. A keeper process starts the server, writes down what it is, and waits for
that lock: it gets it when the owner lets go or dies, and then ends the server.
"""

import fcntl
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from shutil import rmtree
from typing import Any

from tests.services import cache, memory
from tests.services.errors import ServerError, Unavailable
from tests.services.kafka import Detour, Kafka, KafkaAddress
from tests.services.process import Server
from tests.services.registry import Registry
from tests.services.s3 import MinIO, S3Address
from tests.services.toxiproxy import Toxiproxy, ToxiproxyAddress

VARIABLE = "ADAPTY_SINK_TESTS_RUN"
"""Names the folder of the run that this process belongs to."""

_ROOT = Path(__file__).parents[2]
_MEMORY_ROOM = 2 * memory.GIB  # more than the store and all spools of a run take together
_WAIT_SECONDS = 1500  # the first run on a machine fetches and compiles


class Run:
    """The owner's side: a folder and its lock."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="adapty-sink-run-"))
        self._lock = (self.folder / "owner.lock").open("w")
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        in_memory = memory.folder("adapty-sink-run-", _MEMORY_ROOM)
        if in_memory is not None:
            (self.folder / "synced").symlink_to(in_memory)
        else:
            (self.folder / "synced").mkdir()
        os.environ[VARIABLE] = str(self.folder)

    def end(self) -> None:
        """End all servers and remove what they left."""
        self._lock.close()
        for alive in self.folder.glob("*.alive"):
            with cache.locked(alive):
                pass
        os.environ.pop(VARIABLE, None)
        rmtree((self.folder / "synced").resolve(), ignore_errors=True)
        rmtree(self.folder, ignore_errors=True)


def synced_folder() -> Path | None:
    """Where this run's files lie that are synced again and again: in memory if possible. None outside of a run."""
    return Path(os.environ[VARIABLE], "synced").resolve() if VARIABLE in os.environ else None


def kafka(workers: int = 1) -> KafkaAddress:
    """The run's Kafka, with a detour for each of `workers` test processes."""
    found = _obtain("kafka", workers)
    return KafkaAddress(found["bootstrap_servers"], tuple(Detour(**detour) for detour in found["detours"]))


def minio() -> S3Address:
    """The run's MinIO."""
    return S3Address(**_obtain("minio", 1))


def registry() -> str:
    """URL of the run's schema registry."""
    return str(_obtain("registry", 1)["url"])


def toxiproxy() -> ToxiproxyAddress:
    """The run's toxiproxy."""
    return ToxiproxyAddress(**_obtain("toxiproxy", 1))


def _obtain(kind: str, workers: int) -> dict[str, Any]:
    """What the run's server of this kind says of itself; Unavailable or ServerError if there is none."""
    folder = Path(os.environ[VARIABLE])
    answer = folder / f"{kind}.json"
    with cache.locked(folder / f"{kind}.asking"):
        if not answer.exists():
            _start_keeper(kind, folder, workers)
            _await(answer)
    said: dict[str, Any] = json.loads(answer.read_text())
    if "unavailable" in said:
        raise Unavailable(said["unavailable"])
    if "error" in said:
        raise ServerError(said["error"])
    return said


def _start_keeper(kind: str, folder: Path, workers: int) -> None:
    """Start one that is no child of ours: it may outlive this process, which would be warned of it at its end."""
    with (folder / f"{kind}.keeper.log").open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", "tests.services.shared", kind, str(folder), str(workers)],
            cwd=_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            check=False,  # its log says why
        )


def _await(answer: Path) -> None:
    until = time.monotonic() + _WAIT_SECONDS
    while not answer.exists():
        lives = cache.is_locked(answer.with_suffix(".alive")) and time.monotonic() < until
        if not lives and not answer.exists():
            log = answer.with_suffix(".keeper.log").read_text(errors="replace")
            raise ServerError(f"no server by {answer.stem}'s keeper: {log[-4000:]}")
        time.sleep(0.02)


def _server(kind: str, folder: Path, workers: int) -> Server:
    if kind == "kafka":
        return Kafka(folder, detours=workers)
    if kind == "minio":
        return MinIO(folder, folder.parent.joinpath("synced").resolve() / "minio")
    others: dict[str, Callable[[Path], Server]] = {"registry": Registry, "toxiproxy": Toxiproxy}
    return others[kind](folder)


def _says(server: Server) -> dict[str, Any]:
    if isinstance(server, Registry):
        return {"url": server.url}
    if isinstance(server, Kafka | MinIO | Toxiproxy):
        return asdict(server.address)
    raise TypeError(f"{server.name} is not shared")


def _keep(kind: str, folder: Path, workers: int) -> None:
    """The keeper's side: start the server, say so, end it with the run."""
    with cache.locked(folder / f"{kind}.alive"):
        if os.fork():
            os._exit(0)  # who asked goes on; the lock is the child's as well
        server = _server(kind, folder / kind, workers)
        try:
            server.start()
            _say(folder, kind, _says(server))
            with (folder / "owner.lock").open("r") as owner:
                fcntl.flock(owner, fcntl.LOCK_SH)
        except Unavailable as error:
            _say(folder, kind, {"unavailable": str(error)})
        except ServerError as error:
            _say(folder, kind, {"error": str(error)})
        finally:
            server.kill()
            rmtree(server.folder, ignore_errors=True)
            rmtree(folder.joinpath("synced").resolve() / kind, ignore_errors=True)


def _say(folder: Path, kind: str, what: dict[str, Any]) -> None:
    part = folder / f"{kind}.part"
    part.write_text(json.dumps(what))
    part.rename(folder / f"{kind}.json")


if __name__ == "__main__":
    _keep(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
