"""Results as rows of text: what was measured, the figure, and what it means beside the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

Row = tuple[str, str, str]
_BUILDS = {
    "readfirst": "Readfirst",
    "faust_table": "Faust Table (RocksDB), same domain code",
    "quix": "Quix Streams 3.28.1 (RocksDB), same domain code",
    "aiokafka": "bare aiokafka, decodes and does nothing: the limit",
}


def rows(name: str, result: dict[str, Any]) -> list[Row]:
    """The rows of one benchmark."""
    return list(_ROWS[name](result))


def markdown(figures: dict[str, Any]) -> str:
    """All figures, for the README."""
    return "\n\n".join(_section(name, figures[name]) for name in _TITLES if name in figures)


def _section(name: str, figure: dict[str, Any]) -> str:
    machine = figure["machine"]
    load = figure.get("load_average", 0.0)
    busy = f"; other work at the start: load average {load:g}" if load > machine["cores"] / 4 else ""
    where = f"{machine['cores']} cores, {machine['memory_gib']} GiB, Python {machine['python']}, {machine['system']}{busy}"
    lines = [f"**{_TITLES[name]}** (`{figure['command']}`, {figure['date']}, {where})", "", "| | figure | |", "|---|---:|---|"]
    lines += [f"| {' | '.join(row)} |" for row in rows(name, figure["result"])]
    return "\n".join([*lines, *([] if name not in _NOTES else ["", _NOTES[name](figure["result"])])])


def _context(result: dict[str, Any]) -> Iterator[Row]:
    for build, words in _BUILDS.items():
        if build in result:
            ratio = result["ratios"].get(f"readfirst_to_{build}")
            beside = f"{result['events_per_cpu_second'][build]:,} a processor second"
            yield words, f"{result[build]:,} events/s", f"{beside}; Readfirst is {ratio} x" if ratio is not None else beside


def _context_note(result: dict[str, Any]) -> str:
    return (
        f"One worker, {result['events']:,} vital signs of {result['patients']:,} patients in 8 partitions; {result['open_share']:.0%} of "
        f"the patients have a study to be read, {result['assessments']:,} assessments sent; median of {result['runs']}. Readfirst keeps "
        "every event as a fact in Postgres (fsync) and a window of those with something to read; the others keep a window of each patient."
    )


_WATCHING = (
    ("metrics", "metrics kept, and scraped every 5 s", "asked for: under 5 %"),
    ("traces", "metrics, and traces of every message", "asked for: under 15 %"),
)


def _overhead(result: dict[str, Any]) -> Iterator[Row]:
    for name, words, asked in _WATCHING:
        cost, rate = result[name]["cost"], result[name]["events_per_s"]
        yield words, f"{cost['cpu']:+.1%}", f"processor time an event; {cost['time']:+.1%} time, {rate:,} events/s; {asked}"


def _overhead_note(result: dict[str, Any]) -> str:
    plain = result["nothing"]
    return (
        f"Beside the same worker with neither: {plain['events_per_s']:,} events/s, {plain['events_per_cpu_s']:,} a processor second. "
        f"{result['events']:,} vital signs of {result['patients']:,} patients a run; medians of {result['rounds']} rounds, the runs of one "
        f"compared with each other. Of a batch, {result['spans_max']} messages have spans at most; scraper and collector run beside."
    )


_SERVERS = (
    ("mllp", "HL7 over MLLP", "a server that only answers"),
    ("c_store", "C-STORE", "pynetdicom that only answers"),
)


def _latency(result: dict[str, Any]) -> Iterator[Row]:
    for rate, found in result["rates"].items():
        committed, seen = (_percentiles(found[name]) for name in ("committed_ms", "seen_ms"))
        beside = f"{committed} to the committed rank; {found['accepted_per_s']:g}/s accepted"
        yield f"{rate} messages/s sent: accepted to seen, p50 / p95 / p99", seen, beside


def _latency_note(result: dict[str, Any]) -> str:
    busy = {rate: sum(found["cores_busy"].values()) for rate, found in result["rates"].items()}
    return (
        f"The whole stack, an open-loop sender and one page on this machine; {result['connections']} MLLP connections, "
        f"{result['patients']} patients with a study to be read, each message five vital signs that change the list, "
        f"{result['seconds']:g} s a rate. Less accepted than sent: senders wait for their answers. Cores that the stack kept busy: "
        f"{', '.join(f'{cores:.1f} at {rate}/s' for rate, cores in busy.items())}."
    )


def _percentiles(found: dict[str, float | None]) -> str:
    return " / ".join("-" if value is None else f"{value:,.0f}" for value in found.values()) + " ms"


def _intake(result: dict[str, Any]) -> Iterator[Row]:
    for name, words, bare in _SERVERS:
        found, echo = result[name], result[f"{name}_echo"]
        yield words, f"{found['per_s']:,.0f}/s", f"{found['per_cpu_s']:,.0f} a processor second; {bare}: {echo['per_s']:,.0f}/s"


def _intake_note(result: dict[str, Any]) -> str:
    return (
        f"{result['messages']:,} messages of five vital signs over {result['connections']} connections, {result['objects']:,} objects of "
        f"33 kB over {result['associations']} associations; each answered when Kafka and Postgres (and the disk) have it."
    )


def _startup(result: dict[str, Any]) -> Iterator[Row]:
    yield "`readfirst up`, stopped to healthy", f"{result['seconds']:g} s", f"runs: {', '.join(f'{each:g}' for each in result['runs'])} s"
    yield "the first start on a folder", f"{result['first_seconds']:g} s", "what is fetched being there"


def _memory(result: dict[str, Any]) -> Iterator[Row]:
    total, window = result["sum_mib"], result["window"]
    yield "all processes", f"{total['pss']:,.0f} MiB", f"shared pages counted once (PSS); {total['rss']:,.0f} MiB counted by process (RSS)"
    for name, part in sorted(result["parts_mib"].items(), key=lambda item: -float(item[1]["pss"])):
        yield name, f"{part['pss']:,.0f} MiB", f"RSS {part['rss']:,.0f}"
    beside = f"largest {window['largest_bytes']:,}, of {window['patients']} patients, as MessagePack"
    yield "a patient's window, median", f"{window['median_bytes']:,} bytes", beside


def _memory_note(result: dict[str, Any]) -> str:
    return f"After a demo of {result['sent']:,} messages."


def _simulation(result: dict[str, Any]) -> Iterator[Row]:
    beside = f"{result['ratios']['order_to_simpy']:g} x SimPy (PriorityResource, {result['simpy']:,} exams/s)"
    yield "first come, first served", f"{result['fifo']:,} exams/s", ""
    yield "order priority", f"{result['order']:,} exams/s", beside
    published = f"{result['ratios']['readfirst_to_qucad_published']:,} x QuCAD's published 36 min for 100,000 patients"
    yield "Readfirst's live deadlines", f"{result['readfirst']:,} exams/s", published


def _simulation_note(result: dict[str, Any]) -> str:
    return f"One reader, one kind of study, {result['exams']:,} exams drawn and read on one core; median of {result['runs']}."


def _ranking(result: dict[str, Any]) -> Iterator[Row]:
    single, first, deep = result["rerank_ms"], result["first_page_ms"], result["deep_page_ms"]
    yield "one study re-ranked, in the database", f"{single['update']:g} ms", "planning and execution of the update; asked for: under 2 ms"
    whole = "read locked, written, history, pages told, commit on disk: p50"
    yield "the same as the ranking stage does it", f"{single['p50']:g} ms", f"{whole}; p95 {single['p95']:g} ms"
    yield "the first page of 100, p50", f"{first['p50']:g} ms", f"p95 {first['p95']:g} ms; asked for: under 10 ms"
    yield f"page {result['deep'] + 1}, p50", f"{deep['p50']:g} ms", f"p95 {deep['p95']:g} ms; asked for: no slower"
    beside = f"{result['burst_wrong']} of them in a wrong place afterwards; asked for: 5 s"
    yield f"{result['burst']:,} new scores at once, settled after", f"{result['burst_s']:g} s", beside


def _ranking_note(result: dict[str, Any]) -> str:
    return f"{result['open']:,} open studies in one Postgres; client and server on this machine."


def _escalation(result: dict[str, Any]) -> Iterator[Row]:
    steps = result["steps"]
    yield "steps that arrived exactly once", f"{result['sent_once']:,} of {steps:,}", f"{result['missed']} missed"
    marked = f"{result['unmarked_repeats']} of them without the mark; no step came more than {result['most_often']} times"
    yield "repeats", f"{result['repeats']:,}", marked
    met = f"a step in the last 250 ms before; {result['kills_after_a_step']} had sent one at all"
    yield "kills that met the agent at work", f"{result['kills_at_work']} of {result['kills']}", met
    life, first = result["sent_in_a_life"], result["first_step_after_s"]
    between = f"{life['least']} to {life['most']}" + ("" if first is None else f"; the first {first:g} s after its start")
    yield "steps between two kills, median", f"{life['median']:,}", between
    yield "sent while the agent was being killed", f"{result['sent_under_fire']:,}", "the others after the last kill"
    yield "all had arrived after", f"{result['all_sent_after_s']:g} s", f"they were due within {result['seconds']:g} s"


def _escalation_note(result: dict[str, Any]) -> str:
    return (
        f"{result['alerts']:,} open alerts, a step of each due within {result['seconds']:g} s; the agent killed (kill -9) "
        f"every {result['kill_every_s']:g} s, {result['kills']} times, and started again at once; signed webhooks on loopback."
    )


def _replay(result: dict[str, Any]) -> Iterator[Row]:
    rules, model = result["rules"], result["model"]
    yield "by the rules", f"{rules['events_per_s']:,} events/s", f"a day in {rules['seconds']:g} s; asked for: 20,000/s, under 60 s"
    asked = f"{model['moves']:,} changes of the list; the model's own time is most of it"
    yield "with the model in the same process", f"{model['events_per_s']:,} events/s", asked
    if live := result.get("live"):
        ratio = rules["events_per_s"] / live["events_per_s"]
        beside = f"{live['events']:,} events through Kafka into Postgres by one worker a stage; the replay is {ratio:.1f} x"
        yield "the live stack (`replay --live`), by the rules", f"{live['events_per_s']:,} events/s", beside
    quarter = f"{result['quarter_memory_mib']} MiB for its first six hours; asked for: flat, under 400 MB"
    yield "memory for the whole day", f"{rules['memory_mib']} MiB", quarter
    yield "the file", f"{result['file_share']:.1%} of its JSON", "asked for: 25 % at most"


def _replay_note(result: dict[str, Any]) -> str:
    events = result["rules"]["events"]
    return f"One process on one core: {events:,} events, a day of {result['beds']} monitored beds, two runs of equal digest."


def _record(result: dict[str, Any]) -> Iterator[Row]:
    told = f"{result['records']:,} records in {result['seconds']:g} s; asked for: 10,000/s"
    yield "from Kafka into a file", f"{result['records_per_s']:,} records/s", told
    yield "the file", f"{result['file_share']:.1%} of its JSON", f"{result['bytes']:,} of {result['json_bytes']:,} bytes"


def _serving(result: dict[str, Any]) -> Iterator[Row]:
    for name, found in result["throughput"].items():
        beside = f"{found['ratio']:g} x onnxruntime in one process ({found['process']:,.0f}/s); asked for: 0.8"
        yield f"{name} behind Triton, in batches of {found['batch']}", f"{found['triton']:,.0f}/s", beside
    urgent = result["urgent"]
    for name, asked in (
        ("idle", "one row of top priority every 50 ms"),
        ("saturated", f"{urgent['saturated_to_idle']:g} x its idle p99; asked for: 3 x at most"),
        ("without priorities", "the same load, the row as routine as the rest"),
    ):
        yield f"the urgent request, {name}: p50 / p95 / p99", _percentiles({p: urgent[name][p] for p in ("p50", "p95", "p99")}), asked
    for name, rate in result["films"].items():
        yield f"films decoded and prepared, {name}", f"{rate:g}/s", "a processor second, 2048 x 2048 pixels in 16 bits"


def _serving_note(result: dict[str, Any]) -> str:
    urgent = result["urgent"]
    routine, told = urgent["routine"], [f"{urgent[name]['routine_rows_per_s']:,.0f}" for name in ("saturated", "without priorities")]
    return (
        f"Triton's CPU flavour: two instances of the clinical model, one of an image head, a thread each, beside one thread in one "
        f"process; {result['seconds']:g} s a part. The saturating load: "
        f"{routine['at_once']} requests of {routine['rows']} rows always on their way, {told[0]} rows/s answered "
        f"({told[1]}/s without priorities)."
    )


def _alerting(result: dict[str, Any]) -> Iterator[Row]:
    for name, words, asked in (
        ("page", f"from the {result['stage']} agent's stop to `/ops`", ""),
        ("alert", "to the alert, by Prometheus and Alertmanager", "; asked for: under 60 s"),
        ("resolved", "from its going on to the alert's end", ""),
    ):
        found = result[f"{name}_s"]
        yield words, f"{found['median']:g} s", f"at worst {found['worst']:g} s{asked}"


def _alerting_note(result: dict[str, Any]) -> str:
    return f"The demo's stream, the shipped rules and scrape interval; SIGSTOP, {result['rounds']} rounds, medians."


_TITLES = {
    "context": "Context stage",
    "overhead": "What metrics and traces cost",
    "latency": "Latency",
    "intake": "Intake",
    "startup": "Start",
    "memory": "Memory",
    "simulation": "Department simulator",
    "ranking": "The list",
    "escalation": "Alerts under kill -9",
    "replay": "Replay of a day",
    "record": "Recording",
    "alerting": "A stage stops",
    "serving": "Model serving",
}
_ROWS: dict[str, Callable[[dict[str, Any]], Iterator[Row]]] = {
    "context": _context,
    "overhead": _overhead,
    "latency": _latency,
    "intake": _intake,
    "startup": _startup,
    "memory": _memory,
    "simulation": _simulation,
    "ranking": _ranking,
    "escalation": _escalation,
    "replay": _replay,
    "record": _record,
    "alerting": _alerting,
    "serving": _serving,
}
_NOTES: dict[str, Callable[[dict[str, Any]], str]] = {
    "context": _context_note,
    "overhead": _overhead_note,
    "latency": _latency_note,
    "intake": _intake_note,
    "memory": _memory_note,
    "simulation": _simulation_note,
    "ranking": _ranking_note,
    "escalation": _escalation_note,
    "replay": _replay_note,
    "alerting": _alerting_note,
    "serving": _serving_note,
}
