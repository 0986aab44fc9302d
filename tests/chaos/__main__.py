"""`python -m tests.chaos`: play a campaign, and print its seed and a table of figures."""

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.chaos import report
from tests.chaos.campaign import Campaign
from tests.chaos.ground import ground
from tests.chaos.plan import Plan, lines, plan
from tests.services.errors import Unavailable


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main(arguments: list[str] | None = None) -> int:
    """0 where all rows are there exactly once, 1 where anything is wrong or time ran out, 2 without servers."""
    given = _arguments(arguments)
    seed = random.SystemRandom().randrange(1_000_000) if given.seed is None else given.seed
    made = plan(seed, given.kills, given.faults, given.workers, given.seasons)
    say(f"seed {seed}: {made.kills} kills, {made.faults} other faults, {given.workers} workers")
    if given.plan:
        for line in lines(made):
            say(line)
        return 0
    home = Path(tempfile.mkdtemp(prefix="adapty-sink-chaos-"))
    code = _play(made, home, given.minutes * 60)
    if code == 0 and not given.keep:
        shutil.rmtree(home)
    else:
        say(f"logs, spools and settings: {home}")
    if code:
        options = " ".join(f"--{name} {vars(given)[name]}" for name in ("kills", "faults", "workers", "seasons"))
        say(f"repeat with: make chaos ARGS='--seed {seed} {options}'")
    return code


def _play(made: Plan, home: Path, seconds: float) -> int:
    try:
        with ground(home / "servers", made.slots) as servers:
            campaign = Campaign(made, servers, home, say, seconds)
            try:
                campaign.run()
            except Exception:  # noqa: BLE001 - whatever it is: the campaign failed, and its seed must be told
                say(traceback.format_exc())
                say(f"FAILED after {campaign.figures.counts['kills']} kills")
                return 1
    except Unavailable as error:
        say(str(error))
        return 2
    say(f"\n{time.strftime('%Y-%m-%d', time.gmtime())}\n")
    for line in (*report.table(made, campaign.figures), "", *report.details(campaign.figures)):
        say(line)
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, help="the schedule's; a random one by default, always printed")
    parser.add_argument("--kills", type=int, default=200, help="processes to kill with kill -9 (%(default)s)")
    parser.add_argument("--faults", type=int, default=30, help="other faults (%(default)s)")
    parser.add_argument("--minutes", type=float, default=40, help="give up after so many (%(default)s)")
    parser.add_argument("--workers", type=int, default=3, choices=range(2, 6), help="of one group (%(default)s)")
    parser.add_argument("--seasons", type=int, default=0, help="worlds, each with its kind of group; one for 50 kills")
    parser.add_argument("--plan", action="store_true", help="print the schedule and end")
    parser.add_argument("--keep", action="store_true", help="keep logs, spools and settings")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
