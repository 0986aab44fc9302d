"""Writes base/prometheusrule.yaml: the rules of deploy/prometheus for the Prometheus operator."""  # noqa: INP001 - a script

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RULES = HERE.parent / "prometheus/adapty-sink.yml"
TARGET = HERE / "base/prometheusrule.yaml"
RUNBOOK = "docs/runbook.md"


def rule_object(runbook: str = RUNBOOK) -> dict[str, Any]:
    """The object; `runbook` is the address of your copy of docs/runbook.md."""
    text = RULES.read_text().replace(f"runbook_url: {RUNBOOK}#", f"runbook_url: {runbook}#")
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "adapty-sink"},
        "spec": yaml.safe_load(text),
    }


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runbook", default=RUNBOOK, help="address of your copy of the runbook, before the #")
    given = parser.parse_args()
    head = "# Made by deploy/k8s/prometheus_rule.py from deploy/prometheus/adapty-sink.yml: change it there.\n"
    TARGET.write_text(head + yaml.safe_dump(rule_object(given.runbook), sort_keys=False, width=200, allow_unicode=True))


if __name__ == "__main__":
    main()
