"""How large a machine or cluster a hospital needs, worked out from the committed figures: `infra/SIZING.md`.

Written by `readfirst bench --write-readme`, or: python -m pipeline.benchmarks.sizing > infra/SIZING.md
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import ceil
from textwrap import wrap
from typing import Any

from pipeline.adapters.local.table import SERVERS
from pipeline.benchmarks import figures
from pipeline.settings import Kafka, Postgres
from schemas.topics import VITALS

BEDS = (100, 500, 2_000)
PEAK = 4.0
"""The busiest minutes beside the day's mean. An assumption: look at your own interface engine."""
HELD = 0.98
"""A rate counts as held when so much of it was accepted."""
FULL = 0.6
"""Share of a core that one process is planned to use: the rest is for rebalances, restarts and what the mean does not show."""
REPLICAS = 3
WIDTH = 140
_NEEDED = ("replay", "latency", "intake", "memory", "record")


@dataclass(frozen=True, slots=True)
class Site:
    """messages_s: at the peak."""

    beds: int
    events_a_day: float
    messages_s: float


def text(found: Mapping[str, Any]) -> str:
    """The guide as Markdown; without what has not been measured."""
    results = {name: figure["result"] for name, figure in found.items()}
    missing = [name for name in _NEEDED if name not in results]
    if missing:
        return f"# Sizing\n\nNot measured yet: `readfirst bench {missing[0]} --write-readme`.\n"
    sites = [site(beds, results["replay"]) for beds in BEDS]
    machine = found["latency"]["machine"]
    where = f"{machine['cores']} cores, {machine['memory_gib']} GiB, {machine['system']}"
    lines = [
        "# Sizing",
        "",
        *_said(
            "Generated from `infra/figures.json` by `pipeline/benchmarks/sizing.py`. Measured where all parts and their load share one",
            f"machine ({where}): a part on a machine of its own does better. Measure yours with `readfirst bench`.",
        ),
        *_load(sites, results),
        *_processors(sites, results),
        *_memory(results),
        *_disk(sites, results),
        *_growth(results),
    ]
    return "\n".join(lines).rstrip() + "\n"


def site(beds: int, day: Mapping[str, Any]) -> Site:
    """By the events a bed and day of the replay's reference hospital."""
    events = beds * day["rules"]["events"] / day["beds"]
    return Site(beds, events, events / 86_400 * PEAK)


def cores(latency: Mapping[str, Any], messages_s: float) -> dict[str, float]:
    """Part -> cores it keeps busy: as measured at the next higher rate that the stack held; beyond the highest in proportion to it."""
    held = {found["sent_per_s"]: found for found in latency["rates"].values() if found["accepted_per_s"] >= HELD * found["sent_per_s"]}
    if not held:
        return {}
    rate = min((rate for rate in held if rate >= messages_s), default=max(held))
    more = max(messages_s / rate, 1.0)
    return {name: busy * more for name, busy in held[rate]["cores_busy"].items()}


def processes(busy: float, most: int | None = None) -> int:
    """At least two, so that one may go; at most a partition each."""
    wanted = max(2, ceil(busy / FULL))
    return wanted if most is None else min(wanted, most)


def _load(sites: list[Site], results: Mapping[str, Any]) -> Iterator[str]:
    a_bed = results["replay"]["rules"]["events"] / results["replay"]["beds"]
    yield from _said(
        f"The reference day has {a_bed:,.0f} events a bed: monitors, laboratory, orders, imaging, movements, reports.",
        f"Its busiest minutes are taken as {PEAK:g} times its mean.",
        title="Load",
    )
    yield from _table(
        ["monitored beds", *(f"{one.beds:,}" for one in sites)],
        ["events a day", *(f"{one.events_a_day:,.0f}" for one in sites)],
        ["messages/s, mean", *(f"{one.messages_s / PEAK:,.1f}" for one in sites)],
        ["messages/s, busiest", *(f"{one.messages_s:,.0f}" for one in sites)],
    )


def _processors(sites: list[Site], results: Mapping[str, Any]) -> Iterator[str]:
    busy = [cores(results["latency"], one.messages_s) for one in sites]
    if not all(busy):
        return
    hl7, dicom = (results["intake"][name]["per_cpu_s"] for name in ("mllp", "c_store"))
    yield from _said(
        "Cores kept busy in the busiest minutes where every message changes the list (`readfirst bench latency`: the worst case).",
        f"In brackets the processes to plan: each at {FULL:.0%} of a core, at least two, of an agent at most one a partition",
        f"({Kafka().partitions}). Objects come beside messages: a DICOM gateway takes {dicom:,.0f} a processor second, an HL7",
        f"gateway {hl7:,.0f} messages.",
        title="Processors",
    )
    rows = [["part", *(f"{one.beds:,} beds" for one in sites)]]
    for name in sorted(busy[-1], key=lambda name: -busy[-1][name]):
        rows.append([name, *(_planned(name, each[name]) for each in busy)])
    rows.append(["all", *(f"{sum(each.values()):.1f}" for each in busy)])
    yield from _table(*rows)


def _planned(part: str, busy: float) -> str:
    if part in SERVERS:
        return f"{busy:.2f}"
    return f"{busy:.2f} ({processes(busy, Kafka().partitions if part.startswith('agent-') else None)})"


def _memory(results: Mapping[str, Any]) -> Iterator[str]:
    memory = results["memory"]
    yield from _said(
        f"Of each process after a demo; all together {memory['sum_mib']['pss'] / 1024:.1f} GiB, pages that they share counted once.",
        f"A context worker grows with its patients: at most 20,000 windows, the largest here {memory['window']['largest_bytes']:,} bytes",
        "as MessagePack. The chart's request has room for twice that.",
        title="Memory",
    )
    parts = sorted(memory["parts_mib"].items(), key=lambda item: -float(item[1]["rss"]))
    yield from _table(["part", "MiB, shared pages counted with each"], *([name, f"{part['rss']:,.0f}"] for name, part in parts))


def _disk(sites: list[Site], results: Mapping[str, Any]) -> Iterator[str]:
    record = results["record"]["json_bytes"] / results["record"]["records"]
    days, kept = VITALS.retention.days if VITALS.retention else 0, Postgres().keep_days
    yield from _said(
        f"A record is {record:,.0f} bytes of JSON; Kafka holds it compressed, in {REPLICAS} copies.",
        "READFIRST_POSTGRES__KEEP_DAYS says how long facts stay. DICOM objects are not counted: they are as large as your modalities",
        "make them.",
        title="Disk",
    )
    rows = [
        ["GB", *(f"{one.beds:,} beds" for one in sites)],
        [f"Kafka's input topics, {days} days, at most", *(f"{one.events_a_day * record * days * REPLICAS / 1e9:,.0f}" for one in sites)],
    ]
    fact = results.get("context", {}).get("fact_bytes")
    if fact:
        facts = (f"{one.events_a_day * fact * kept / 1e9:,.0f}" for one in sites)
        rows.append([f"facts in Postgres, {kept} days, {fact:,} bytes each with indexes", *facts])
    logs = record * results["record"]["file_share"]
    rows.append(["event log of a day (`readfirst record`)", *(f"{one.events_a_day * logs / 1e9:,.2f}" for one in sites)])
    yield from _table(*rows)


def _growth(results: Mapping[str, Any]) -> Iterator[str]:
    fullest = max(results["latency"]["rates"].values(), key=lambda found: float(found["sent_per_s"]))
    sent, accepted = fullest["sent_per_s"], fullest["accepted_per_s"]
    waited = f"Of {sent:,} messages/s this one machine took {accepted:,.0f}; the rest waited with its senders. "
    yield from _said(
        f"{waited if accepted < HELD * sent else ''}When a stage stays behind (`readfirst lag`, the dashboards):",
        title="What gives way first",
    )
    yield "1. Give Kafka, Postgres and Triton machines of their own: `readfirst up --external`, or the Helm chart."
    yield "2. Start more processes of the part that is busiest: gateways without limit, agents up to a partition each."
    if "context" in results:
        rate, day = results["context"]["readfirst"], results["replay"]
        hour_s = day["rules"]["events"] / 24 / rate
        yield f"   One context worker catches up at {rate:,} events/s: with an hour of {day['beds']} beds in {hour_s:,.0f} s."
    yield "3. The partition count cannot change later: choose more than 8 only if a stage will need more than 8 processes."


def _said(*words: str, title: str = "") -> Iterator[str]:
    if title:
        yield from (f"## {title}", "")
    yield from wrap(" ".join(words), WIDTH, break_long_words=False, break_on_hyphens=False)
    yield ""


def _table(*rows: list[str]) -> Iterator[str]:
    head, *body = rows
    yield f"| {' | '.join(head)} |"
    yield f"|---|{'---:|' * (len(head) - 1)}"
    for row in body:
        yield f"| {' | '.join(row)} |"
    yield ""


if __name__ == "__main__":
    print(text(figures.stored()), end="")
