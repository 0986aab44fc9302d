"""The native package: one version with the product, exact pins, a lock that names no registry."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest

from consumer import __version__
from consumer.shape.native import extension

ROOT = Path(__file__).resolve().parents[3]
NATIVE = ROOT / "native"
CARGO = tomllib.loads((NATIVE / "Cargo.toml").read_text("utf-8"))
LOCK = (NATIVE / "crates.lock").read_text("utf-8")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("native", ROOT / ".ci/native.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_has_the_products_version() -> None:
    assert CARGO["package"]["version"] == __version__


def test_both_sides_speak_of_the_same_interface() -> None:
    source = (NATIVE / "src/engine.rs").read_text("utf-8")
    assert f"pub const INTERFACE: u32 = {extension.INTERFACE};" in source


def test_direct_dependencies_are_pinned_exactly() -> None:
    for name, wanted in (CARGO["dependencies"] | CARGO["dev-dependencies"]).items():
        version = wanted if isinstance(wanted, str) else wanted["version"]
        assert re.fullmatch(r"=\d+\.\d+\.\d+", version), name


def test_the_lock_has_a_checksum_for_each_crate_and_no_address() -> None:
    packages = tomllib.loads(LOCK)["package"]
    assert {one["name"] for one in packages} >= {"adapty-sink-native", *CARGO["dependencies"]}
    for one in packages:
        assert one["name"] == "adapty-sink-native" or re.fullmatch(r"[0-9a-f]{64}", one["checksum"])
    assert "://" not in LOCK.replace("https://doc.rust-lang.org", "")


def test_the_address_goes_in_and_out(script: ModuleType) -> None:
    source = 'source = "registry+here"\n'
    with_address = script.locked(LOCK, source)
    assert with_address.count(source) == LOCK.count("checksum = ")
    assert script.unlocked(with_address) == LOCK


@pytest.mark.parametrize(
    ("environment", "status"),
    [({}, 0), ({"CI": "true"}, 1), ({"CI": "true", extension.VARIABLE: "exact"}, 0)],
    ids=["a developer", "CI", "CI without it"],
)
def test_only_ci_insists_on_it(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], status: int
) -> None:
    for name in ("CI", extension.VARIABLE):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(script, "cargo", lambda: None)
    assert script.main(["install"]) == script.main(["test"]) == status
    assert script.main(["wheel"]) == 1


@pytest.mark.skipif(
    os.environ.get("CI") != "true" or os.environ.get(extension.VARIABLE) == "exact", reason="only CI insists on it"
)
def test_ci_runs_with_it() -> None:
    """Its tests are skipped where it is missing."""
    assert extension.find().engine == extension.NATIVE, extension.find().reason


def test_nothing_in_it_is_unsafe() -> None:
    assert (NATIVE / "src/lib.rs").read_text("utf-8").startswith("#![forbid(unsafe_code)]\n")
