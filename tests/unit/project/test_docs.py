"""What the documents say is so: links lead somewhere, names exist, snippets work."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import shlex
import tomllib
from pathlib import Path

import boto3
import duckdb
import pytest
from moto import mock_aws

from consumer.commands import main
from consumer.commands.exit_codes import MEANINGS, ExitCode
from consumer.commands.schema.engines import ENGINES
from consumer.commands.schema.table import DataSource, TypedColumn
from consumer.settings.load import load_settings
from consumer.streams.columns import columns_of
from consumer.streams.kinds import KINDS
from consumer.streams.rules import Format, RowRules

ROOT = Path(__file__).parents[3]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
SIGNALLED = {ExitCode.INTERRUPTED, ExitCode.TERMINATED, ExitCode.NO_READER}
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
"""Over line ends too: a target that a line end breaks is found, and not taken for prose."""


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of this language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def columns(kind: str) -> list[str]:
    shipped = KINDS[kind]
    rules = RowRules(kind, kind, "t", Format.AVRO, shipped.schema, shipped.time_field)
    return [column.name for column in columns_of(rules)]


def anchors(page: Path) -> set[str]:
    """What a link may name in a page: its headings, as GitHub writes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert not re.search(r"\s", target), f"a line end breaks the link {target!r}"
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        to = page.parent / name if name else page
        assert to.exists(), target
        assert not anchor or anchor in anchors(to), target


def test_every_decision_is_a_page_of_its_own() -> None:
    numbers = [int(path.name[:4]) for path in sorted(ROOT.glob("docs/decisions/*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))
    for path in ROOT.glob("docs/decisions/*.md"):
        text = path.read_text()
        assert text.startswith(f"# {int(path.name[:4])}. ")
        assert len(text.splitlines()) < 60
        for part in ("## Question", "## Decision", "## Not taken", "## Consequences"):
            assert part in text, path.name


# -- the commands that pages name ------------------------------------------------------------------------------------


def _lines() -> list[str]:
    found = [line for page in PAGES for block in blocks(page.read_text(), "sh") for line in block.splitlines()]
    assert found
    return found


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = {name for page in PAGES for name in re.findall(r"`make ([a-z]+)", page.read_text())}
    named |= {line.split()[1] for line in _lines() if line.startswith("make ")}
    assert {"demo", "test", "setup"} <= named
    assert named <= set(re.findall(r"^([a-z]+):.*## ", makefile, re.MULTILINE))


def test_commands_and_options_exist(capsys: pytest.CaptureFixture[str]) -> None:
    used = [shlex.split(line, comments=True)[1:] for line in _lines() if "adapty-sink" in line.split()[0]]
    rows = re.findall(r"^\| `([a-z-]+[^`|]*)` \|", README, re.MULTILINE)
    used += [shlex.split(row.replace("[", "").replace("]", "")) for row in rows]
    assert len(used) > 8
    for words in used:
        command = words[2] if words[0] == "--config" else words[0]
        assert command in main.COMMANDS, words
        assert main.run([command, "--help"]) == 0
        told = capsys.readouterr().out
        for option in words[words.index(command) :]:
            assert not option.startswith("--") or option in told, (command, option)


def test_the_table_of_commands_is_complete() -> None:
    assert set(re.findall(r"^\| `([a-z-]+)[^`|]*` \|", README, re.MULTILINE)) == set(main.COMMANDS)


def test_exit_codes_are_named() -> None:
    sentence = README[README.index("Exit codes:") :].split("\n\n")[0]
    named = {
        int(number)
        for number in re.findall(r"(?:^|[ ·\n])(\d+) (?:done|`verify`|bad|halted|gave|unexpected)", sentence)
    }
    assert named == {int(code) for code in ExitCode if code not in SIGNALLED}
    assert MEANINGS.keys() == set(ExitCode)


# -- what README has to copy -----------------------------------------------------------------------------------------


def test_the_settings_load(tmp_path: Path) -> None:
    (snippet,) = blocks(README, "toml")
    (tmp_path / "sink.toml").write_text(snippet)
    settings = load_settings(tmp_path / "sink.toml", {})
    assert [stream.name for stream in settings.streams] == ["events", "paywall_views"]
    assert settings.spool.directory == tmp_path / "spool"
    (url,) = {stream.destination.url for stream in settings.streams}
    assert url in " ".join(blocks(README, "sql"))
    assert tomllib.loads(snippet)["destination"]["url"] == url


@mock_aws
def test_s3_takes_the_lifecycle_rule() -> None:
    (snippet,) = blocks(README, "json")
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket="days")
    client.put_bucket_lifecycle_configuration(Bucket="days", LifecycleConfiguration=json.loads(snippet))
    (rule,) = client.get_bucket_lifecycle_configuration(Bucket="days")["Rules"]
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert not {"Expiration", "Transitions", "NoncurrentVersionExpiration"} & set(rule)  # finished objects stay


def test_duckdb_answers_the_query(tmp_path: Path) -> None:
    query = next(sql for sql in blocks(README, "sql") if "read_csv" in sql)
    for day, countries in (("2026-11-20", ["CH", "DE", "CH"]), ("2026-11-21", ["US"]), ("2026-10-31", ["US"])):
        folder = tmp_path / "events" / f"dt={day}"
        folder.mkdir(parents=True)
        (folder / "_SUCCESS").touch()
        (folder / "_manifest.json").write_text("{}")
        with (folder / "adapty.events-0-00000000000000000007.csv").open("w", newline="") as file:
            rows = csv.DictWriter(file, columns("events"), lineterminator="\n")
            rows.writeheader()
            rows.writerows(
                {"store_country": country, "revenue_usd": "7.5", "android_id": "1234e567", "paywall_name": "a\nb,c"}
                for country in countries
            )
    relation = duckdb.sql(query.rstrip().rstrip(";").replace("s3://adapty-events/com.sample-app", str(tmp_path)))
    assert relation is not None
    assert [(str(day), *rest) for day, *rest in relation.fetchall()] == [
        ("2026-11-20", "CH", 15.0, 2),
        ("2026-11-20", "DE", 7.5, 1),
        ("2026-11-21", "US", 7.5, 1),
    ]


def test_athenas_table_is_the_one_that_is_made() -> None:
    table = next(sql for sql in blocks(README, "sql") if "CREATE EXTERNAL TABLE" in sql)
    typed = tuple(TypedColumn(name, None) for name in columns("paywall_views"))
    target = DataSource("paywall_views", "s3://adapty-events/com.sample-app", typed)
    assert table.strip() in ENGINES["athena"].ddl(target)


def test_column_counts_are_right() -> None:
    said = README.replace("\n", " ")
    for kind in KINDS:
        assert f"`{kind}` ({len(columns(kind))}" in said


# -- docs/architecture.md --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("script", ["module_map", "command_page", "metrics_page"])
def test_pages_are_made_from_the_code(script: str) -> None:
    spec = importlib.util.spec_from_file_location(script, ROOT / ".ci" / f"{script}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.PAGE.read_text() == module.page(), "make docs writes it anew"


LOOKING = ("oracle.py", "schedule.py", "replaced.py", "past.py")


def test_invariants_name_what_looks_at_them() -> None:
    text = ARCHITECTURE[ARCHITECTURE.index("## Invariants") : ARCHITECTURE.index("## Modules")]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > 7
    code = "".join((ROOT / "tests" / "simulation" / name).read_text() for name in LOOKING)
    broken = (ROOT / "tests" / "simulation" / "test_broken_protocols.py").read_text()
    for _, looked_at, _breaks in rows:
        for name in re.findall(r"`(?:\w+\.)?(\w+)`", looked_at):
            assert f"def {name}(" in code, name
    listed = {name for _, _, breaks in rows for name in re.findall(r"`(\w+)`", breaks)}
    declared = re.findall(r"^    (\w+): \d+,$", broken[broken.index("BREAKS: ") :], re.MULTILINE)
    assert listed == set(declared)
    assert len(declared) == 21, "README says: broken in twenty-one ways"
    for page in ROOT.glob("docs/decisions/*.md"):
        for name in re.findall(r"Tests?: (.+)", page.read_text()):
            assert set(re.findall(r"`(\w+)`", name)) <= set(declared), page.name


def test_paths_in_the_text_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`((?:consumer|tests|docs|deploy|\.ci)/[\w./-]+)`", page.read_text()):
            assert (ROOT / name).exists(), (page.name, name)
    modules = {path.relative_to(ROOT / "consumer").as_posix() for path in (ROOT / "consumer").rglob("*.py")}
    for page in [*ROOT.glob("docs/decisions/*.md"), ROOT / "docs" / "architecture.md", ROOT / "CONTRIBUTING.md"]:
        for name in re.findall(r"`(\w+/\w+\.py)`", page.read_text()):
            assert name in modules or (ROOT / "tests" / name).exists(), (page.name, name)


def test_no_page_names_a_machine() -> None:
    for page in PAGES:
        for word in ("/work/", "/root/", "/tmp/"):  # noqa: S108 - looked for
            assert word not in page.read_text(), page.name
