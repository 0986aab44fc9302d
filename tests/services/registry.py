"""Apicurio's schema registry, by its Confluent API."""

from pathlib import Path
from typing import ClassVar

from tests.services import fetch, http, ports
from tests.services.process import Server

_JAVA = 21
_PATH = "/apis/ccompat/v7"


class Registry(Server):
    """A registry that forgets all with its process."""

    name: ClassVar[str] = "registry"
    start_seconds: ClassVar[float] = 90

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._port = ports.free()

    @property
    def upstream(self) -> str:
        """Host and port."""
        return f"{ports.HOST}:{self._port}"

    @property
    def url(self) -> str:
        """Base URL of the Confluent API."""
        return f"http://{self.upstream}{_PATH}"

    def command(self) -> list[str]:
        """The registry with its store in memory."""
        return [
            str(fetch.java(_JAVA)),
            *fetch.QUICK_JAVA,
            "-Xmx512m",
            "-jar",
            str(fetch.registry() / "quarkus-run.jar"),
        ]

    def environment(self) -> dict[str, str]:
        """Where it listens."""
        management = str(ports.free())
        return {
            "QUARKUS_HTTP_HOST": ports.HOST,
            "QUARKUS_HTTP_PORT": str(self._port),
            "QUARKUS_MANAGEMENT_HOST": ports.HOST,
            "QUARKUS_MANAGEMENT_PORT": management,
        }

    def is_ready(self) -> bool:
        """Whether it lists its subjects."""
        return http.answers(self.upstream, f"{_PATH}/subjects")
