"""Known vulnerabilities of the locked dependencies: a find fails, and what nobody could be asked about is said loudly.

A source that knows nothing looks like one that finds nothing. So it is first asked about a release that is known to be
vulnerable (the canary): only a source that finds that is believed.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

LOCKS = ("requirements.lock", "deploy/requirements.lock", ".ci/tools.txt")
CANARY = "jinja2==2.10"
SECONDS = 180

Audited = Sequence[dict[str, Any]] | None
"""What pip-audit says of each dependency; None where it ended without an answer."""


def verdict(canary: Audited, locks: Audited) -> tuple[int, str]:
    """Exit code and text. 1: something is vulnerable. Never 0 with a text that could be taken for `all is well`."""
    if found := [one for one in locks or () if one.get("vulns")]:
        return 1, "VULNERABLE:\n" + "\n".join(map(_named, found))
    if not any(one.get("vulns") for one in canary or ()):
        return 0, f"NOT AUDITED: no source of vulnerability data could be asked (none knows of {CANARY}'s)"
    if locks is None:
        return 0, "NOT AUDITED: the locked dependencies could not be asked about"
    missing = sorted({one["name"] for one in locks if "vulns" not in one})
    number = len({one["name"] for one in locks}) - len(missing)
    if missing:
        return 0, f"NOT AUDITED: {', '.join(missing)}. No known vulnerability in the {number} other dependencies"
    return 0, f"no known vulnerability in {number} locked dependencies"


def _named(one: dict[str, Any]) -> str:
    fixes = "; ".join(f"{v['id']} (mended in {', '.join(v['fix_versions']) or 'no release'})" for v in one["vulns"])
    return f"  {one['name']} {one['version']}: {fixes}"


def ask(*arguments: str) -> Audited:
    """Run pip-audit. It ends with 1 where it finds something; without JSON it could not ask."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner=off", "-f", "json", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return None
    return found


def main() -> int:
    """Ask about the canary, then about every lock."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "canary.txt"
        path.write_text(f"{CANARY}\n")
        canary = ask("--no-deps", "-r", str(path))
    locks = ask("--require-hashes", *(part for lock in LOCKS for part in ("-r", lock))) if canary else None
    code, text = verdict(canary, locks)
    print(text, file=sys.stderr if text.startswith(("VULNERABLE", "NOT")) else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
