"""Prometheus that scrapes a test's own pages."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlencode

from tests.services import fetch, http, ports
from tests.services.process import Server


class Prometheus(Server):
    """Scrapes `targets` (host:port) each second and evaluates the rule files."""

    name: ClassVar[str] = "prometheus"

    def __init__(self, folder: Path, targets: Sequence[str] = (), rules: Sequence[Path] = ()) -> None:
        super().__init__(folder)
        self._port = ports.free()
        self._targets = list(targets)
        self._rules = [str(path.resolve()) for path in rules]

    @property
    def upstream(self) -> str:
        """Host and port."""
        return f"{ports.HOST}:{self._port}"

    def command(self) -> list[str]:
        """Prometheus on its own settings and folder."""
        settings = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": self._rules,
            "scrape_configs": [{"job_name": "adapty-sink", "static_configs": [{"targets": self._targets}]}],
        }
        path = self.folder / "prometheus.yml"
        path.write_text(json.dumps(settings))  # JSON is YAML
        storage = f"--storage.tsdb.path={self.folder / 'data'}"
        return [str(fetch.prometheus()), f"--config.file={path}", storage, f"--web.listen-address={self.upstream}"]

    def is_ready(self) -> bool:
        """Whether it says so."""
        return http.answers(self.upstream, "/-/ready")

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result of an instant query: a list of `{"metric": {...}, "value": [time, text]}`."""
        answer = http.call_json(self.upstream, "GET", f"/api/v1/query?{urlencode({'query': expression})}")
        return list(answer["data"]["result"])

    def get(self, path: str) -> Any:
        """The `data` of any page of its API, such as `/api/v1/rules`."""
        return http.call_json(self.upstream, "GET", path)["data"]
