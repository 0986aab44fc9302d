"""The container image and docker-compose.yml: as far as they can be checked where no container engine runs."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.settings.load import load_settings

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "deploy/Dockerfile"
COMPOSE = ROOT / "docker-compose.yml"
PINNED = re.compile(r"[a-z0-9/-]+:(v?\d+\.\d+\.\d+(-[a-z-]+)?|RELEASE\.[0-9TZ-]+)@sha256:[0-9a-f]{64}")
OUR_IMAGES = {"adapty-sink", "adapty-sink:local"}
"""Built from deploy/Dockerfile, so without a digest that could stand here."""
COMPLETED = "service_completed_successfully"


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, continued lines joined, comments left out."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(name, " ".join(rest.split())) for name, rest in lines]


def last_stage() -> list[tuple[str, str]]:
    found = instructions()
    start = max(at for at, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_hadolint_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_built_in_stages_from_pinned_images() -> None:
    stages = [value.split(" AS ")[0] for name, value in instructions() if name == "FROM"]
    assert len(stages) == 4
    assert all(PINNED.fullmatch(image) for image in stages)


def test_one_tag_has_one_digest_wherever_it_is_pinned() -> None:
    text = DOCKERFILE.read_text() + COMPOSE.read_text()
    pins = set(re.findall(r"(\S+:\S+)@(sha256:[0-9a-f]{64})", text))
    assert len(pins) == len({image for image, _ in pins}) == 9


def test_nothing_else_in_deploy_names_an_image_that_is_not_ours() -> None:
    files = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".yaml", ".yml"}]
    images = [found for path in files for found in re.findall(r"\bimage: *(\S+)", path.read_text())]
    assert images
    assert set(images) <= OUR_IMAGES


def test_whoever_renews_images_is_told_how_and_by_what() -> None:
    renewed = yaml.safe_load((ROOT / ".github/dependabot.yml").read_text())["updates"]
    assert {(one["package-ecosystem"], one["directory"]) for one in renewed} >= {
        ("docker", "/deploy"),
        ("docker-compose", "/"),
    }
    for page in (DOCKERFILE, ROOT / "docs/security.md"):
        assert "docker buildx imagetools inspect" in page.read_text()


def test_the_image_runs_as_nobody_special_and_tells_its_health() -> None:
    found = dict(last_stage())
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", found["USER"])
    assert "/livez" in found["HEALTHCHECK"]
    assert [name for name, _ in last_stage()].index("USER") < [name for name, _ in last_stage()].index("ENTRYPOINT")


def test_the_image_starts_the_projects_command() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    found = dict(last_stage())
    assert yaml.safe_load(found["ENTRYPOINT"]) == list(scripts)
    assert yaml.safe_load(found["CMD"])[-1] == "run"


def test_everything_in_the_image_is_locked() -> None:
    runs = [step for name, value in instructions() if name == "RUN" for step in value.split(" && ")]
    installs = [shlex.split(step) for step in runs if re.search(r"\b(pip|uv) .*\b(install|sync|wheel)\b", step)]
    assert len(installs) == 5
    for words in installs:  # by hash, or from what is there already
        assert "--require-hashes" in words or {"--no-deps"} < set(words), words


def test_the_build_gets_what_it_copies() -> None:
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for name, value in instructions():
        words = [word for word in value.split() if not word.startswith("--")]
        if name == "COPY" and "--from" not in value:
            for source in words[:-1]:
                assert (ROOT / source).exists(), source
                assert any(fnmatch(source, pattern) for pattern in allowed), source


def pins(path: Path) -> set[str]:
    return set(re.findall(r"^[a-z0-9.-]+==\S+", path.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("name", ["deploy/requirements.lock", ".ci/tools.txt", ".ci/engines.txt"])
def test_the_other_locks_agree_with_the_main_one(name: str) -> None:
    main = pins(ROOT / "requirements.lock")
    names = {pin.split("==")[0] for pin in main}  # some with two versions, by Python's
    assert {pin for pin in pins(ROOT / name) if pin.split("==")[0] in names} <= main


def test_the_image_has_every_dependency_and_no_tool() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {re.match(r"[a-z0-9-]+", line).group() for line in project["dependencies"]}  # type: ignore[union-attr]
    locked = {pin.split("==")[0] for pin in pins(ROOT / "deploy/requirements.lock")}
    assert wanted <= locked
    assert locked.isdisjoint({"pytest", "mypy", "ruff", "moto"})


def test_compose_brings_the_worker_and_all_its_neighbours(services: dict[str, dict[str, Any]]) -> None:
    assert {"kafka", "minio", "registry", "prometheus", "grafana", "generator", "worker"} <= set(services)


def test_compose_pins_every_image(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        image = service["image"]
        assert PINNED.fullmatch(image) or ("build" in service and image in OUR_IMAGES), name


def test_compose_publishes_ports_to_this_machine_alone(services: dict[str, dict[str, Any]]) -> None:
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_mounts_what_exists(compose: dict[str, Any], services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source, *_ = volume.split(":")
            assert (ROOT / source).exists() if source.startswith(".") else source in compose["volumes"], (name, source)


def test_compose_waits_for_what_can_be_waited_for(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        needs = service.get("depends_on", {})
        for needed, how in needs.items() if isinstance(needs, dict) else []:
            if how["condition"] == "service_healthy":
                assert "test" in services[needed]["healthcheck"], (name, needed)
            if how["condition"] == COMPLETED:
                assert "restart" not in services[needed], (name, needed)


def test_the_worker_of_compose_has_settings_that_load(services: dict[str, dict[str, Any]]) -> None:
    worker = services["worker"]
    environment = {"HOSTNAME": worker["hostname"], **worker["environment"]}
    settings = load_settings(ROOT / "deploy/compose/sink.toml", environment)
    assert {stream.name for stream in settings.streams} == {
        "events",
        "paywall_views",
        "ua_events",
        "ua_campaign_metrics",
    }
    (script,) = services["topics"]["command"]
    made = {f"adapty.{word}" for word in re.search(r"for topic in ([a-z_ ]+);", script).group(1).split()}  # type: ignore[union-attr]
    assert {stream.topic for stream in settings.streams} == made
    assert str(settings.spool.directory) in {volume.split(":")[1] for volume in worker["volumes"]}


def test_prometheus_of_compose_scrapes_the_worker(services: dict[str, dict[str, Any]]) -> None:
    scraped = yaml.safe_load((ROOT / "deploy/compose/prometheus.yml").read_text())["scrape_configs"]
    targets = [target for job in scraped for config in job["static_configs"] for target in config["targets"]]
    assert targets == ["worker:8080"]
    assert services["worker"]["ports"] == ["127.0.0.1:8080:8080"]
