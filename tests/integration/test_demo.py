"""`demo`, run as a user runs it: what it prints, and what lies in the folder, against what its producers sent."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_reader

from consumer.commands import main
from consumer.commands.demo import run as demo_run
from consumer.commands.demo.data import KEPT, STREAMS, Sent, all_records
from consumer.commands.exit_codes import ExitCode
from consumer.commands.wiring import store_of
from consumer.observe.metrics import declare
from consumer.streams.kinds import KINDS

COMMAND = Path(sys.executable).with_name("adapty-sink")
LAST_SEALED, LATE = date(2024, 7, 17), date(2024, 7, 16)


@dataclass(frozen=True, slots=True)
class Ran:
    """Two demos, side by side."""

    folder: Path
    other: Path
    text: str
    numbers: dict[str, Any]
    spools_left: list[Path]


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    base = tmp_path_factory.mktemp("demo")
    (base / "tmp").mkdir()
    outputs = [base / "one", base / "nested" / "two"]
    running = [
        subprocess.Popen(
            [COMMAND, "demo", "--output", output, *more],
            env={**os.environ, "TMPDIR": str(base / "tmp")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for output, more in zip(outputs, ([], ["--json"]), strict=True)
    ]
    told = [process.communicate(timeout=120) for process in running]
    assert [(process.returncode, err) for process, (_, err) in zip(running, told, strict=True)] == [(0, ""), (0, "")]
    left = list((base / "tmp").iterdir())
    return Ran(outputs[0], outputs[1], told[0][0], json.loads(told[1][0]), left)


@pytest.fixture(scope="module")
def sent() -> list[Sent]:
    return all_records()


def _rows(folder: Path, stream: str, day: date) -> Iterator[dict[str, str]]:
    for path in sorted(folder.glob(f"{stream}/dt={day}/*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            yield from csv.DictReader(file)


def _manifest(folder: Path, stream: str, day: date) -> Any:
    return json.loads((folder / stream / f"dt={day}" / "_manifest.json").read_bytes())


def test_each_kept_row_lies_once_in_its_day(ran: Ran, sent: list[Sent]) -> None:
    days = {record.day for record in sent if record.day <= LAST_SEALED}
    assert len(days) == 3
    for stream in STREAMS:
        wanted = Counter(record.day for record in sent if record.stream == stream and record.fate == KEPT)
        for day in days:
            assert sum(1 for _ in _rows(ran.folder, stream, day)) == wanted[day] > 0, (stream, day)
            assert (ran.folder / stream / f"dt={day}" / "_SUCCESS").read_bytes() == b""
        assert not (ran.folder / stream / "dt=2024-07-18").exists()


def test_rows_are_what_an_independent_decode_says(ran: Ran, sent: list[Sent]) -> None:
    schema = parse_schema(json.loads(KINDS["events"].schema))
    for day in {record.day for record in sent if record.day <= LAST_SEALED}:
        mine = [r for r in sent if r.stream == "events" and r.fate == KEPT and r.day == day]
        decoded: list[Any] = [schemaless_reader(io.BytesIO(record.value), schema, None) for record in mine]
        wanted = sorted((row["transaction_id"], row["event_datetime"].isoformat(timespec="microseconds"))
                        for row in decoded)  # fmt: skip
        found = sorted((row["transaction_id"], row["event_datetime"]) for row in _rows(ran.folder, "events", day))
        assert found == wanted
        shown = [json.loads(r.value) for r in sent if r.stream == "paywall_views" and r.fate == KEPT and r.day == day]
        views = Counter((row["profile_id"], row["paywall_name"], row["paywall_revision"]) for row in shown)
        rows = _rows(ran.folder, "paywall_views", day)
        assert Counter((r["profile_id"], r["paywall_name"], r["paywall_revision"]) for r in rows) == views


def test_late_rows_make_a_second_revision(ran: Ran, sent: list[Sent]) -> None:
    for stream in STREAMS:
        late = [record for record in sent if record.stream == stream and record.late]
        assert {record.day for record in late} == {LATE}
        manifest = _manifest(ran.folder, stream, LATE)
        assert manifest["revision"] == 2
        assert sum(item["rows"] for item in manifest["objects"] if item["seal"] == 1) == len(late)
        for day in (date(2024, 7, 15), LAST_SEALED):
            assert _manifest(ran.folder, stream, day)["revision"] == 1
            assert _manifest(ran.folder, stream, day)["complete"]


def test_quarantine_holds_the_bad_records_whole(ran: Ran, sent: list[Sent]) -> None:
    found = Counter(
        (line["topic"], line["partition"], line["reason"], line["timestamp"], base64.b64decode(line["value"]))
        for path in ran.folder.glob("_quarantine/**/*.jsonl")
        for line in map(json.loads, path.read_text().splitlines())
    )
    filters = {"event_type", "profile", "historical", "environment"}
    midnight = datetime(2024, 7, 18, tzinfo=UTC)
    assert found == Counter(
        (f"adapty.{r.stream}", r.partition, r.fate, int(r.at.timestamp() * 1000), r.value)
        for r in sent
        if r.fate not in {KEPT, *filters} and r.at < midnight
    )
    assert {reason for _, _, reason, _, _ in found} == {"undecodable", "no_time", "day_out_of_range", "schema_unknown"}


def test_the_numbers_are_those_of_what_was_sent(ran: Ran, sent: list[Sent]) -> None:
    assert sum(ran.numbers["arrived"]) == len(sent)
    for stream in ran.numbers["streams"]:
        mine = [record for record in sent if record.stream == stream["name"]]
        fates = Counter(record.fate for record in mine)
        assert stream["came_in"] == len(mine)
        assert stream["filtered"] == {
            name: fates[name] for name in ("environment", "event_type", "historical", "profile") if fates[name]
        }
        parts = (*stream["filtered"].values(), *stream["quarantined"].values(), stream["in_bucket"], stream["waiting"])
        assert sum(parts) == len(mine)


def test_all_of_it_was_verified(ran: Ran, sent: list[Sent]) -> None:
    assert ran.numbers["verified"]["sound"] is True
    for stream, found in zip(ran.numbers["streams"], ran.numbers["verified"]["streams"], strict=True):
        assert (found["stream"], found["rows"], found["findings"]) == (stream["name"], stream["in_bucket"], [])


def test_what_does_not_verify_is_said(
    ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(ran.folder, folder)
    altered = min(folder.glob("events/dt=2024-07-15/*.csv"))
    altered.write_bytes(altered.read_bytes().replace(b"Production", b"Prodiction", 1))
    settings = demo_run._settings("localhost:1", folder, tmp_path / "spool")
    store = store_of(settings.streams[0].destination)
    monkeypatch.setattr("consumer.observe.logs.set_up_logs", lambda *_: None)
    monkeypatch.setattr(
        demo_run, "run_demo", lambda _: demo_run.DemoResult([], declare(), settings, folder, store, 0.0)
    )
    assert main.run(["demo"]) == ExitCode.FOUND
    told = capsys.readouterr().out
    assert "Problems found." in told
    assert altered.name in told


def test_a_newcomer_sees_what_happened(ran: Ran) -> None:
    for wanted in (
        "revision 2",
        "events/",
        "dt=2024-07-16/",
        "_SUCCESS",
        "profile_id,event_type,event_datetime",
        '"revision": 2',
        "Sandbox; the settings keep Production",
        "No problems found.",
        str(ran.folder),
    ):
        assert wanted in ran.text
    for stream in ran.numbers["streams"]:
        assert any(
            line.split()[:3] == [stream["name"], stream["format"], f"{stream['came_in']:,}"]
            for line in ran.text.splitlines()
        )


def test_every_run_gives_the_same_bytes(ran: Ran) -> None:
    mine, other = (
        {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/dt=*/*") if path.is_file()}
        for folder in (ran.folder, ran.other)
    )
    assert mine == other
    assert len(mine) > 40


def test_an_export_is_shown_and_loaded(ran: Ran) -> None:
    exported = ran.numbers["exported"]
    path = ran.other / "exports" / "events" / "2024-07-15_2024-07-17.csv"
    assert exported["path"] == str(path)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == exported["rows"] == sum(1 for day in (15, 16, 17) for _ in _rows(
        ran.other, "events", date(2024, 7, day)))  # fmt: skip
    types = Counter(row["event_type"] for row in rows)
    assert [(name, int(number)) for name, number, _ in exported["answer"]] == sorted(
        types.items(), key=lambda item: (-item[1], item[0])
    )[:4]
    assert f"FROM read_csv('{ran.folder}/exports/events/2024-07-15_2024-07-17.csv'" in ran.text
    assert exported["answer"][0][0] in ran.text


def test_the_spool_is_taken_away(ran: Ran) -> None:
    assert ran.spools_left == []


def test_a_folder_with_something_in_it_is_refused(ran: Ran) -> None:
    before = sorted(ran.folder.rglob("*"))
    again = subprocess.run(
        [COMMAND, "demo", "--output", ran.folder], capture_output=True, text=True, check=False, timeout=60
    )
    assert (again.returncode, again.stdout) == (2, "")
    assert "is not an empty folder" in again.stderr
    assert sorted(ran.folder.rglob("*")) == before
