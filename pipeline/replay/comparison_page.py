"""A comparison of two replays as one HTML page that needs nothing else: the plot, the classes, and each study that moved."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape

from pipeline.replay.comparison import Comparison, FirstDifference, Moved

_SHOWN = 200
_EARLIER, _LATER = "#0072B2", "#D55E00"
"""Okabe and Ito (2008): told apart with any colour vision."""
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; } th, td { text-align: left; padding: .3rem .8rem; border-bottom: 1px solid #ddd; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
td:first-child, td:nth-child(4) { white-space: nowrap; } svg { max-width: 100%; height: auto; }
"""


def page(found: Comparison, first: FirstDifference | None) -> str:
    """A document of its own, for light ground."""
    title = f"{found.a.log} by {found.a.policy} and {found.b.log} by {found.b.policy}"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p>A: {escape(_run(found, 'a'))}<br>B: {escape(_run(found, 'b'))}</p>",
        f"<p>{escape(verdict(found))}</p>",
        *([f"<p>{escape(where(first))}</p>"] if first else []),
        plot(found.moved) if found.moved else "",
        "<h2>By class</h2>",
        _table(
            ("order", "studies", "earlier in B", "later in B", "mean min"),
            ((c.group, c.studies, c.earlier, c.later, f"{c.mean_minutes:+.1f}") for c in found.classes),
        ),
        f"<h2>Studies that moved{f' (the first {_SHOWN})' if len(found.moved) > _SHOWN else ''}</h2>",
        _table(("study", "what", "order", "at", "min", "places", "because of", "why in A", "why in B"), map(_cells, found.moved[:_SHOWN])),
        *_escalations(found),
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
        f"<body>{''.join(parts)}</body></html>\n"
    )


def verdict(found: Comparison) -> str:
    """In one sentence."""
    if found.same:
        return f"The two are the same: {found.studies:,} studies, digest {found.a.digest[:16]}…"
    if not found.moved:
        return f"No deadline of {found.studies:,} studies differs; the histories do (in reasons, or in when they were known)."
    earlier = sum((one.minutes or 0) < 0 for one in found.moved)
    later = sum((one.minutes or 0) > 0 for one in found.moved)
    single = len(found.moved) - earlier - later
    return (
        f"{len(found.moved):,} of {found.studies:,} studies stand elsewhere at some time: {earlier:,} are due earlier in B, {later:,} later"
        + (f", {single:,} are listed in one of the two only" if single else "")
        + "."
    )


def where(first: FirstDifference) -> str:
    """The first difference in words."""
    said = [
        f"{name}: {move.cause}, due {clock(move.due_at)}" if move else f"{name}: nothing" for name, move in (("A", first.a), ("B", first.b))
    ]
    return f"They differ from {clock(first.at)} on, after event {first.event_id}, in study {first.study} ({'; '.join(said)})."


def clock(at: datetime) -> str:
    """To the second, UTC."""
    return f"{at:%Y-%m-%d %H:%M:%S}Z"


def plot(moved: Sequence[Moved]) -> str:
    """Minutes by which B differs, by time; an SVG element."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "readfirst"
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
    from matplotlib.figure import Figure

    points = [(one.at, one.minutes) for one in moved if one.minutes is not None]
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for label, colour, marker, chosen in (
        ("due earlier in B", _EARLIER, "v", [(at, minutes) for at, minutes in points if minutes < 0]),
        ("due later in B", _LATER, "^", [(at, minutes) for at, minutes in points if minutes > 0]),
    ):
        axes.plot(date2num([at for at, _ in chosen]), [minutes for _, minutes in chosen], marker, color=colour, markersize=5, label=label)
    locator = AutoDateLocator(tz=UTC)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
    axes.axhline(0, color="#999", linewidth=1)
    axes.set_ylabel("minutes, largest difference")
    axes.set_xlabel("time (UTC)")
    axes.legend(frameon=False)
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]


def _run(found: Comparison, side: str) -> str:
    one = found.a if side == "a" else found.b
    return f"{one.log}, rules {one.policy}, scores {one.scorer}, {one.events:,} events, digest {one.digest[:16]}…"


def _cells(one: Moved) -> tuple[object, ...]:
    minutes = one.listed if one.minutes is None else f"{one.minutes:+.1f}"
    places = "" if one.places is None else f"{one.places:+d}"
    return f"…{one.study[-12:]}", one.what, one.group, clock(one.at), minutes, places, one.cause, one.why_a, one.why_b


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    numbers = {n for n, name in enumerate(head) if name in ("studies", "earlier in B", "later in B", "mean min", "min", "places")}
    kind = [' class="n"' if n in numbers else "" for n in range(len(head))]
    top = "".join(f"<th{kind[n]}>{escape(name)}</th>" for n, name in enumerate(head))
    body = "".join("<tr>" + "".join(f"<td{kind[n]}>{escape(str(cell))}</td>" for n, cell in enumerate(row)) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _escalations(found: Comparison) -> list[str]:
    if not (found.gained or found.lost):
        return []
    rows = [("gained", study, step) for study, step in found.gained] + [("lost", study, step) for study, step in found.lost]
    return ["<h2>Escalations</h2>", _table(("in B", "study", "step"), rows)]
