"""What a worker sets up for itself before it works."""

from __future__ import annotations

import subprocess
import sys


def test_a_worker_leaves_no_core_behind() -> None:
    """It would hold rows, and every secret of the settings."""
    program = (
        "import resource as r; from consumer.commands.tuning import tune; tune(); print(r.getrlimit(r.RLIMIT_CORE))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "(0, 0)"
