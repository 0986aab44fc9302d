"""Servers that speak S3 beside MinIO: what `check` says of each stands in docs/compatibility.md."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from tests.services import fetch, ports
from tests.services.s3 import _PASSWORD, _USER, S3Address, S3Server, VersityGW

_JAVA = 17


class Moto(S3Server):
    """moto, a server in Python for tests."""

    name: ClassVar[str] = "moto"

    def command(self) -> list[str]:
        return [sys.executable, "-m", "moto.server", "-H", ports.HOST, "-p", str(self._port)]


class GoFakeS3(S3Server):
    """gofakes3, a server in Go for tests."""

    name: ClassVar[str] = "gofakes3"

    def command(self) -> list[str]:
        return [str(fetch.gofakes3()), "-backend", "memory", "-host", self.upstream]


class S3rver(S3Server):
    """s3rver, a server in JavaScript for tests."""

    name: ClassVar[str] = "s3rver"

    def command(self) -> list[str]:
        return [str(fetch.s3rver()), "-d", str(self.data), "-a", ports.HOST, "-p", str(self._port)]

    @property
    def address(self) -> S3Address:
        return S3Address(f"http://{self.upstream}", "S3RVER", "S3RVER")


class S3Proxy(S3Server):
    """s3proxy over a folder: a gateway in Java, before other clouds too."""

    name: ClassVar[str] = "s3proxy"
    start_seconds: ClassVar[float] = 120

    def command(self) -> list[str]:
        file = self.folder / "s3proxy.conf"
        settings = {
            "s3proxy.endpoint": f"http://{self.upstream}",
            "s3proxy.authorization": "aws-v2-or-v4",
            "s3proxy.identity": _USER,
            "s3proxy.credential": _PASSWORD,
            "jclouds.provider": "filesystem-nio2",
            "jclouds.filesystem.basedir": str(self.data),
            "jclouds.identity": "unused",
            "jclouds.credential": "unused",
        }
        file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        java = [str(fetch.java(_JAVA)), *fetch.QUICK_JAVA, "-Xmx512m", "-cp", f"{fetch.s3proxy()}/*"]
        return [*java, "org.gaul.s3proxy.Main", "--properties", str(file)]


class S3Mock(S3Server):
    """Adobe's s3mock: a server in Java for tests."""

    name: ClassVar[str] = "s3mock"
    start_seconds: ClassVar[float] = 120

    def command(self) -> list[str]:
        where = [
            f"--com.adobe.testing.s3mock.http-port={self._port}",
            "--server.port=0",
            f"--com.adobe.testing.s3mock.store.root={self.data}",
        ]
        return [str(fetch.java(_JAVA)), "-Xmx512m", "-jar", str(fetch.s3mock()), *where]


class Rclone(S3Server):
    """rclone over a folder: a gateway before other clouds too."""

    name: ClassVar[str] = "rclone"

    def command(self) -> list[str]:
        serve = [str(fetch.rclone()), "serve", "s3", "--config", "/dev/null", "--addr", self.upstream]
        return [*serve, "--auth-key", f"{_USER},{_PASSWORD}", str(self.data)]


class SeaweedFS(S3Server):
    """SeaweedFS: master, volume, filer and gateway in one process."""

    name: ClassVar[str] = "seaweedfs"
    start_seconds: ClassVar[float] = 120

    def command(self) -> list[str]:
        who = {"name": "tests", "credentials": [{"accessKey": _USER, "secretKey": _PASSWORD}], "actions": ["Admin"]}
        users = self.folder / "users.json"
        users.write_text(json.dumps({"identities": [who]}))
        parts = ("master", "volume", "filer")
        listening = [f"-{part}.port{kind}={ports.free()}" for part in parts for kind in ("", ".grpc")]
        listening += [f"-s3.port={self._port}", f"-s3.port.grpc={ports.free()}"]
        server = [str(fetch.seaweedfs()), "server", f"-ip={ports.HOST}", f"-ip.bind={ports.HOST}", f"-dir={self.data}"]
        return [
            *server,
            "-filer",
            "-s3",
            f"-s3.config={users}",
            "-master.volumeSizeLimitMB=64",
            "-volume.max=200",
            *listening,
        ]


STORES: Mapping[str, type[S3Server]] = {
    made.name: made for made in (Moto, GoFakeS3, S3rver, S3Proxy, VersityGW, S3Mock, Rclone, SeaweedFS)
}
"""By their names in docs/compatibility.md."""


def start(name: str, folder: Path) -> S3Server:
    """The store, started."""
    return STORES[name](folder).start()
