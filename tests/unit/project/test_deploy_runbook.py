"""The runbook: a place for every halt, links that lead somewhere, and words that the program really says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from consumer.commands.main import COMMANDS
from consumer.domain.errors import HaltReason
from consumer.observe.metrics import declare

ROOT = Path(__file__).parents[3]
PAGES = ("docs/runbook.md", "deploy/k8s/README.md")
RUNBOOK = ROOT / "docs/runbook.md"


def anchors(path: Path) -> set[str]:
    """What GitHub makes of the headings."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_halt_has_a_place() -> None:
    assert {reason.value for reason in HaltReason} <= anchors(RUNBOOK)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)\s]+)\)", re.sub(r"\]\s*\n\s*", "] ", path.read_text()))
    assert links
    for link in links:
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_the_operations_of_the_contract_are_there() -> None:
    assert {
        "deploying", "upgrading", "rolling-back", "changing-settings", "moving-to-another-bucket",
        "rotating-credentials", "re-creating-a-topic", "accepting-a-gap", "lifecycle-rules",
        "decommissioning-a-stream", "disaster-recovery",
    } <= anchors(RUNBOOK)  # fmt: skip


def test_metrics_that_it_names_exist() -> None:
    known = {family.name for family in declare().registry.collect()}
    named = set(re.findall(r"adapty_sink_\w+", RUNBOOK.read_text()))
    assert named
    assert named <= known


def test_events_that_it_names_are_logged() -> None:
    listed = re.search(r"`event` is one of a few names: (.*) \|", RUNBOOK.read_text())
    assert listed is not None
    code = "".join(path.read_text() for path in (ROOT / "consumer").rglob("*.py"))
    for name in re.findall(r"`(\w+)`", listed[1]):
        assert f'"{name}"' in code


def test_commands_that_it_names_exist() -> None:
    named = set(re.findall(r"adapty-sink --config sink\.toml ([a-z-]+)", RUNBOOK.read_text()))
    assert named
    assert named <= COMMANDS.keys()
