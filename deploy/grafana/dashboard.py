"""Writes adapty-sink.json, the Grafana dashboard. Change it here."""  # noqa: INP001 - a script

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from grafana_foundation_sdk.builders import common, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TARGET = Path(__file__).with_name("adapty-sink.json")
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
ALARM = {None: "green", 1.0: "red"}

STREAM = 'stream=~"$stream"'
WORKER = 'instance=~"$instance"'
DUE = "(time() - {after}) - (time() - {after}) % 86400 - 86400"
"""Midnight of the last day that was due `after` seconds past midnight UTC."""
COMPLETE = f"max by (stream) (adapty_sink_last_complete_day_timestamp_seconds{{{STREAM}}})"


@dataclass(frozen=True)
class Graph:
    """One panel: its queries by legend. `alarm` gives the colours from a value on; `stat` shows the last value big."""

    title: str
    meaning: str
    unit: str
    queries: Mapping[str, str]
    stat: bool = False
    stacked: bool = False
    alarm: Mapping[float | None, str] | None = None
    width: int = 12


def rate(metric: str, by: str, selector: str = STREAM) -> str:
    """The growth of a counter per second."""
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def quantile(share: float, metric: str) -> str:
    """A quantile of a histogram over the last day: seals come once a day."""
    return f"histogram_quantile({share}, sum by (stream, le) (increase({metric}_bucket{{{STREAM}}}[1d])))"


ROWS: Mapping[str, Sequence[Graph]] = {
    "Is every day there?": (
        Graph(
            "Days behind", "Due days (04:00 UTC) that are not complete yet. 1 for the minutes of a seal is normal.",
            "none", {"{{stream}}": f"({DUE.format(after=14400)} - {COMPLETE}) / 86400"},
            stat=True, alarm=ALARM, width=8,
        ),
        Graph(
            "Freshness objective, 30 days",
            "Share of the time from 04:45 UTC on in which the previous day was complete. The objective: 99 %.",
            "percentunit",
            {"{{stream}}": f"avg_over_time(({COMPLETE} >= bool {DUE.format(after=17100)})[30d:15m])"},
            stat=True, alarm={None: "red", 0.99: "green"}, width=8,
        ),
        Graph(
            "Halted partitions", "Each waits for an operator: see /status and the runbook.", "none",
            {"halted": f"sum(adapty_sink_halted{{{STREAM}}}) or vector(0)"}, stat=True, alarm=ALARM, width=4,
        ),
        Graph(
            "Workers", "Workers that are scraped.", "none", {"workers": "count(adapty_sink_build_info) or vector(0)"},
            stat=True, alarm={None: "red", 1.0: "green"}, width=4,
        ),
        Graph(
            "Last complete day", "When the last complete day began.", "dateTimeAsIso",
            {"{{stream}}": f"{COMPLETE} * 1000"}, stat=True,
        ),
        Graph(
            "Retention headroom",
            "Time until Kafka deletes what is not in the bucket yet. Below a day an alert pages.", "s",
            {"{{stream}}": f"min by (stream) (adapty_sink_retention_headroom_seconds{{{STREAM}}})"},
            stat=True, alarm={None: "red", 86400.0: "orange", 172800.0: "green"},
        ),
    ),
    "Reading": (
        Graph(
            "Records read", "From Kafka, per second.", "cps",
            {"{{stream}}": rate("adapty_sink_records_read_total", "stream")}, stacked=True,
        ),
        Graph(
            "Lag", "Records between the reading position and the end of the log.", "short",
            {"{{stream}}": f"sum by (stream) (adapty_sink_read_lag_records{{{STREAM}}})"},
        ),
        Graph(
            "Records by outcome", "Per second.", "cps",
            {"{{outcome}}": rate("adapty_sink_rows_total", "outcome")}, stacked=True,
        ),
        Graph(
            "Filtered, by reason", "Per second.", "cps",
            {"{{stream}} {{reason}}": rate("adapty_sink_rows_filtered_total", "stream, reason")}, stacked=True,
        ),
        Graph(
            "Quarantined", "Share of the records that cannot become a row. At 5 % the partition halts.", "percentunit",
            {
                "{{stream}}": rate("adapty_sink_rows_total", "stream", STREAM + ', outcome="quarantined"')
                + " / "
                + rate("adapty_sink_records_read_total", "stream")
            },
            alarm={None: "green", 0.05: "red"},
        ),
        Graph(
            "Held", "Records between the commit and the end: a day's worth is normal.", "short",
            {"{{stream}}": f"sum by (stream) (adapty_sink_held_records{{{STREAM}}})"},
        ),
    ),
    "Sealing": (
        Graph(
            "Seals", "Within the last day, by outcome.", "none",
            {"{{stream}} {{outcome}}": f"sum by (stream, outcome) (increase(adapty_sink_seals_total{{{STREAM}}}[1d]))"},
        ),
        Graph(
            "Seal duration", "From the decision to the commit of a partition, over the last day.", "s",
            {
                "{{stream}} median": quantile(0.5, "adapty_sink_seal_duration_seconds"),
                "{{stream}} 90 %": quantile(0.9, "adapty_sink_seal_duration_seconds"),
            },
        ),
        Graph(
            "Age of the last sealed day",
            "Of the partition furthest behind. Grows to 52 h just before 04:00 UTC.", "s",
            {
                "{{stream}}": f"time() - min by (stream) (adapty_sink_last_sealed_day_timestamp_seconds{{{STREAM}}})"
            },
            alarm={None: "green", 190_000.0: "red"},
        ),
        Graph(
            "Uploads", "Per second, by outcome.", "cps",
            {"{{stream}} {{outcome}}": rate("adapty_sink_uploads_total", "stream, outcome")},
        ),
        Graph(
            "Bytes uploaded", "Per second.", "Bps", {"{{stream}}": rate("adapty_sink_upload_bytes_total", "stream")},
            stacked=True,
        ),
        Graph(
            "Upload duration", "Of one object, over the last day.", "s",
            {
                "{{stream}} median": quantile(0.5, "adapty_sink_upload_duration_seconds"),
                "{{stream}} 90 %": quantile(0.9, "adapty_sink_upload_duration_seconds"),
            },
        ),
        Graph(
            "Commits", "Within the last hour, by outcome.", "none",
            {"{{outcome}}": f"sum by (outcome) (increase(adapty_sink_commits_total{{{STREAM}}}[1h]))"}, width=24,
        ),
    ),
    "Spool": (
        Graph(
            "Spool", "Bytes of rows, and the setting spool.max_bytes.", "bytes",
            {
                "{{instance}}": f"adapty_sink_spool_bytes{{{WORKER}}}",
                "{{instance}} limit": f"adapty_sink_spool_limit_bytes{{{WORKER}}}",
            },
        ),
        Graph(
            "Free on its disk", "And the setting spool.min_free_bytes.", "bytes",
            {
                "{{instance}}": f"adapty_sink_spool_free_bytes{{{WORKER}}}",
                "{{instance}} floor": f"adapty_sink_spool_floor_bytes{{{WORKER}}}",
            },
        ),
        Graph(
            "Reading paused", "Partitions, by reason. `sealing` for minutes a day is normal.", "none",
            {"{{reason}}": f"sum by (reason) (adapty_sink_paused{{{STREAM}}})"}, stacked=True, width=24,
        ),
    ),
    "Kafka": (
        Graph(
            "Broker round trip", "Mean of the slowest broker.", "s",
            {"{{instance}}": f"adapty_sink_broker_round_trip_seconds{{{WORKER}}}"},
        ),
        Graph(
            "Fetch queue", "Fetched by the client, but not delivered yet.", "bytes",
            {"{{instance}}": f"adapty_sink_fetch_queue_bytes{{{WORKER}}}"},
        ),
        Graph(
            "Fetch queue, records", "Fetched by the client, but not delivered yet.", "short",
            {"{{instance}}": f"adapty_sink_fetch_queue_records{{{WORKER}}}"},
        ),
        Graph(
            "Partitions", "Assigned, by worker.", "none",
            {"{{instance}}": f"sum by (instance) (adapty_sink_assigned_partitions{{{WORKER}}})"}, stacked=True,
        ),
        Graph(
            "Rebalances", "Within an hour.", "none",
            {"{{instance}}": f"increase(adapty_sink_rebalances_total{{{WORKER}}}[1h])"},
        ),
        Graph(
            "Last poll", "Seconds since the client was polled. Above 60 the worker counts as dead.", "s",
            {"{{instance}}": f"time() - adapty_sink_last_poll_timestamp_seconds{{{WORKER}}}"},
            alarm={None: "green", 60.0: "red"},
        ),
        Graph(
            "Committed offset", "Moves with each seal.", "none",
            {"{{topic}}:{{partition}}": f"max by (topic, partition) (adapty_sink_committed_offset{{{STREAM}}})"},
            width=24,
        ),
    ),
    "Trouble": (
        Graph(
            "Halted", "By partition and reason.", "none",
            {"{{topic}}:{{partition}} {{reason}}": f"adapty_sink_halted{{{STREAM}}}"}, alarm=ALARM,
        ),
        Graph(
            "Reachable", "1: it answers.", "none",
            {
                "broker, from {{instance}}": f"adapty_sink_broker_reachable{{{WORKER}}}",
                "store of {{stream}}": f"min by (stream) (adapty_sink_store_reachable{{{STREAM}}})",
            },
            alarm={None: "red", 1.0: "green"},
        ),
        Graph(
            "Unknown fields", "Records with a field that is not a column, within a day: the top ten.", "short",
            {
                "{{stream}} {{field}}": "topk(10, sum by (stream, field) "
                f"(increase(adapty_sink_unknown_fields_total{{{STREAM}}}[1d])))"
            },
        ),
        Graph(
            "Oddities", "Values written in another form than expected, within a day.", "short",
            {
                "{{stream}} {{reason}}":
                f"sum by (stream, reason) (increase(adapty_sink_oddities_total{{{STREAM}}}[1d]))"
            },
        ),
        Graph(
            "Unexpected errors", "Within an hour: bugs, retried every minute.", "short",
            {"{{stream}}": f"sum by (stream) (increase(adapty_sink_unexpected_errors_total{{{STREAM}}}[1h]))"},
        ),
        Graph(
            "Batches with the exact engine", "Per second, by reason: slower, same rows.", "cps",
            {"{{stream}} {{reason}}": rate("adapty_sink_exact_path_batches_total", "stream, reason")},
        ),
        Graph(
            "Memory", "Resident.", "bytes",
            {
                "{{instance}}": f"process_resident_memory_bytes{{{WORKER}}} "
                "and on (instance) adapty_sink_build_info"
            },
        ),
    ),
}  # fmt: skip


def _thresholds(alarm: Mapping[float | None, str]) -> build.ThresholdsConfig:
    steps = [models.Threshold(value=value, color=color) for value, color in alarm.items()]
    return build.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _panel(graph: Graph) -> stat.Panel | timeseries.Panel:
    made = _stat(graph) if graph.stat else _lines(graph)
    made.title(graph.title).description(graph.meaning).unit(graph.unit).datasource(SOURCE)
    made.span(graph.width).height(4 if graph.stat else 8)
    for number, (legend, expression) in enumerate(graph.queries.items()):
        query = prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number))
        query.format(PromQueryFormat.TIME_SERIES).datasource(SOURCE)
        made.with_target(query.instant() if graph.stat else query.range())
    if graph.alarm is not None:
        made.thresholds(_thresholds(graph.alarm))
    return made


def _stat(_graph: Graph) -> stat.Panel:
    last = common.ReduceDataOptions().calcs(["lastNotNull"])
    made = stat.Panel().reduce_options(last).graph_mode(common_models.BigValueGraphMode.NONE)
    color = build.FieldColor().mode(models.FieldColorModeId.THRESHOLDS)
    return made.color_scheme(color).text_mode(common_models.BigValueTextMode.VALUE_AND_NAME)


def _lines(graph: Graph) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(common_models.LegendDisplayMode.LIST)
    made = timeseries.Panel().fill_opacity(30 if graph.stacked else 5).line_width(1).min(0)
    made.legend(legend.placement(common_models.LegendPlacement.BOTTOM).show_legend(show_legend=True))
    made.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    if graph.stacked:
        made.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if graph.alarm is not None:
        style = common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.LINE)
        made.thresholds_style(style)
    return made


def _variable(name: str, metric: str) -> build.QueryVariable:
    found = build.QueryVariable(name).query(f"label_values({metric}, {name})").datasource(SOURCE)
    found.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.ALPHABETICAL_ASC)
    return found.multi(multi=True).include_all(include_all=True).all_value(".*")


def dashboard() -> str:
    """The dashboard as Grafana reads it."""
    made = build.Dashboard("adapty-sink").uid("adapty-sink").tags(["adapty-sink", "kafka", "s3"]).readonly()
    made.description("Kafka to object store, one UTC day at a time.")
    made.timezone("utc").refresh("1m").time("now-2d", "now")
    made.tooltip(models.DashboardCursorSync.CROSSHAIR)
    made.with_variable(build.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
    made.with_variable(_variable("stream", "adapty_sink_assigned_partitions"))
    made.with_variable(_variable("instance", "adapty_sink_build_info"))
    for title, graphs in ROWS.items():
        made.with_row(build.Row(title))
        for graph in graphs:
            made.with_panel(_panel(graph))
    return json.dumps(made.build(), cls=JSONEncoder, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(dashboard(), encoding="utf-8")
