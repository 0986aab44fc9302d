"""The native engine: `.ci/native.py install` builds and installs its wheel where cargo is, `wheel` puts one in dist/.

A wheel that was built from the same content stays in the user's cache folder: a second clone takes no build. Where
there is no cargo, or the build fails, one line says what that costs and all goes on with the exact engine, but in CI
(`CI=true`), which fails unless `ADAPTY_SINK_ENGINE=exact` leaves the engine out on purpose. `test` runs the crate's own
tests, `lock` writes crates.lock anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NATIVE = ROOT / "native"
LOCK = NATIVE / "crates.lock"
BIN = Path(sys.executable).parent
WITHOUT = (
    "no cargo here, so no native engine: all works on the exact one, some fifty times slower per row. "
    "Install Rust 1.88 or later, then `make setup` again"
)


def required() -> bool:
    """Whether it is an error that there is no native engine."""
    return os.environ.get("CI") == "true" and os.environ.get("ADAPTY_SINK_ENGINE") != "exact"


def content() -> list[Path]:
    """The files that decide what the wheel holds."""
    return [*sorted((NATIVE / "src").rglob("*.rs")), NATIVE / "Cargo.toml", NATIVE / "pyproject.toml", LOCK]


def cargo() -> Path | None:
    """Cargo, on the path or where its installer puts it."""
    found = shutil.which("cargo") or shutil.which("cargo", path=str(Path("~/.cargo/bin").expanduser()))
    return Path(found) if found else None


def environment(cargo: Path) -> dict[str, str]:
    """Cargo finds its compiler beside itself, and what it has built for another clone in the cache."""
    path = f"{cargo.parent}:{BIN}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "CARGO_TARGET_DIR": str(cache() / "target")}


def cache() -> Path:
    """The user's cache folder for this."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "adapty-sink" / "native"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def alone() -> Iterator[None]:
    """One build at a time: clones share what they build."""
    with (cache() / "lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def unlocked(text: str) -> str:
    """Cargo's lock without the registry's address: names, versions and checksums stay."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("source = "))


def locked(text: str, source: str) -> str:
    """The same with the address: a crate with a checksum comes from there."""
    lines = text.splitlines(keepends=True)
    return "".join(f"{source}{line}" if line.startswith("checksum = ") else line for line in lines)


def fresh_lock(env: dict[str, str]) -> str:
    """A lock as cargo makes it today."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(NATIVE / "src", Path(folder) / "src")
        shutil.copy(NATIVE / "Cargo.toml", folder)
        subprocess.run(["cargo", "generate-lockfile", "-q"], check=True, cwd=folder, env=env)
        return (Path(folder) / "Cargo.lock").read_text()


def write_lock(env: dict[str, str]) -> None:
    """The lock as cargo takes it, with the address of this machine's registry."""
    source = next(line for line in fresh_lock(env).splitlines(keepends=True) if line.startswith("source = "))
    (NATIVE / "Cargo.lock").write_text(locked(LOCK.read_text(), source))


def build(env: dict[str, str], out: Path, *options: str) -> Path:
    """The wheel, in `out`. Cargo refuses a crate whose checksum is not the locked one."""
    write_lock(env)
    command = ["maturin", "build", "--release", "--locked", "-q", "-i", sys.executable, "-o", str(out), *options]
    subprocess.run(command, check=True, cwd=NATIVE, env=env)
    return next(out.glob("*.whl"))


def digest(env: dict[str, str]) -> str:
    """The name of this content in the cache, made by this compiler for this machine."""
    compiler = subprocess.run(["cargo", "-V"], check=True, capture_output=True, env=env).stdout
    found = hashlib.sha256(compiler + sysconfig.get_platform().encode())
    for path in content():
        found.update(f"{path.relative_to(NATIVE)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return found.hexdigest()[:16]


def wheel(env: dict[str, str]) -> Path:
    """The wheel of this content, built unless it is in the cache."""
    folder = cache() / digest(env)
    with alone():
        if not any(folder.glob("*.whl")):
            with tempfile.TemporaryDirectory(dir=cache()) as work:
                shutil.move(build(env, Path(work), "--compatibility", "linux"), _made(folder))
    return next(folder.glob("*.whl"))


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def install(env: dict[str, str]) -> int:
    """Put the wheel into the environment that runs this. A build that fails costs speed, nothing else."""
    try:
        made = wheel(env)
    except (subprocess.CalledProcessError, OSError, StopIteration) as error:
        print(f"the native engine could not be built ({error}): all works on the exact one, some fifty times slower")
        return int(required())
    uv = [str(BIN / "uv"), "pip", "install", "-q", "--no-cache", "--python", sys.executable, "--no-deps", "--no-index"]
    return subprocess.run([*uv, "--reinstall", str(made)], check=False).returncode


def main(words: list[str]) -> int:
    """Do what the word says."""
    found = cargo()
    if found is None:
        print(WITHOUT)
        return int(required() or words not in (["install"], ["test"]))
    env = environment(found)
    match words:
        case ["install"]:
            return install(env)
        case ["wheel"]:
            with alone():
                print(build(env, ROOT / "dist"))
            return 0
        case ["test"]:
            with alone():
                write_lock(env)
                return subprocess.run(
                    ["cargo", "test", "-q", "--lib", "--tests", "--locked"], check=False, cwd=NATIVE, env=env
                ).returncode
        case ["lock"]:
            LOCK.write_text(unlocked(fresh_lock(env)))
            return 0
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
