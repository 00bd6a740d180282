"""`readfirst simulate sensitivity`: Readfirst beside EDF 20/45/480 in the published room, and how good its evidence must be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from pipeline.domain.site import Policy
    from pipeline.simulation.department.intervals import Estimate
    from pipeline.simulation.department.sensitivity import Cell, Comparison

Step = Callable[[str], None]
READING = "minutes less than EDF's are negative; each figure is on the same studies; SAH is the disease that no AI looks for"


def sensitivity(exams: int | None, seed: int | None, site: Path | None, as_json: bool, console: Console, step: Step) -> bool:
    """Prints; whether what must hold does. site: a site file instead of the rules that ship. Raises SiteFileRefused."""
    from pipeline.domain.site import DEFAULT
    from pipeline.simulation.department import sensitivity as department

    own = site_rules(site) if site else None
    step("the rivals")
    studies, chosen = exams or department.STUDIES, 1 if seed is None else seed
    room = department.Room(studies, chosen)
    others = {times: department.Room(studies, chosen, times) for times in department.FALSE_FLAGS}
    judged = own or DEFAULT
    found = list(department.demanded(room, judged))
    if own is None:
        found.append(room.compare(department.CONTEXT, room.context, department.CAUTIOUS))
    for policy in (DEFAULT, department.CAUTIOUS) if own is None else (own,):
        found += department.varied(room, policy, step)
        found += department.false_flags(others, policy, step)
    grids = {evidence: list(department.grid(room, evidence, judged, step)) for evidence in department.EVIDENCE}
    good = all(one.holds is not False for one in found)
    if as_json:
        document = {"studies": studies, "seed": chosen, "holds": good, "assumptions": room.context.assumptions}
        cells = [
            {"evidence": name, "site": judged.version, "cells": [{**_plain(one), "whole": one.found.whole} for one in each]}
            for name, each in grids.items()
        ]
        typer.echo(json.dumps({**document, "compared": [as_object(one) for one in found], "evidence": cells}))
    else:
        _show(found, grids, judged.version, room.context.assumptions, console)
    return good


def site_rules(path: Path) -> Policy:
    """Raises SiteFileRefused."""
    from pipeline.adapters.site.file import load

    return load(path).policy


def as_object(one: Comparison) -> dict[str, Any]:
    """Its fields, and what follows from them."""
    return {**_plain(one), "as_good": one.as_good, "better_for_sah": one.better_for_sah, "holds": one.holds}


def _plain(one: object) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(one)
    return plain


def _show(found: list[Comparison], grids: dict[str, list[Cell]], site: str, assumptions: list[str], console: Console) -> None:
    console.print("[bold]Readfirst beside EDF 20/45/480: G1, a study once begun is finished[/bold]", highlight=False)
    for assumption in assumptions:
        console.print(f"  assumed: {assumption}", highlight=False, soft_wrap=True)
    console.print(f"  {READING}", highlight=False, soft_wrap=True)
    show_compared(found, console)
    for evidence, cells in grids.items():
        console.print(_grid_table(evidence, cells, site))
    for one in found:
        if one.demands:
            asked = "; ".join(_WORDS[demand] for demand in one.demands)
            verdict = "[green]holds[/]" if one.holds else "[red]does not hold[/]"
            console.print(f"{one.site}, {one.assumption}: {asked}: {verdict}", highlight=False, soft_wrap=True)


_WORDS = {
    "as_good": "LVO and ICH wait no longer than by EDF, and none without disease longer than by the strict hierarchy",
    "better_for_sah": "SAH waits less than by EDF",
}


def show_compared(found: list[Comparison], console: Console) -> None:
    """A table a site, a line an assumption."""
    for site in dict.fromkeys(one.site for one in found):
        console.print(_compared_table(site, [one for one in found if one.site == site]))


def _compared_table(site: str, rows: list[Comparison]) -> Table:
    from pipeline.simulation.department.sensitivity import CAUTIOUS

    words = f"{site} (full pull from {CAUTIOUS.image.full_from:g})" if site == CAUTIOUS.version else site
    title = f"{words}: mean wait (less EDF 20/45/480's), and longest of none in 60,000 (less the strict hierarchy's), paired, 95 %, min"
    table = Table(title=title, title_justify="left")
    table.add_column("assumption")
    for column in (*rows[0].mean, "longest of none", "asked"):
        table.add_column(column, justify="right", no_wrap=True)
    for one in rows:
        cells = [f"{mean.value:.1f} ({_signed(one.moved[name])})" for name, mean in one.mean.items()]
        verdict = {None: "-", True: "[green]holds[/]", False: "[red]out[/]"}[one.holds]
        table.add_row(one.assumption, *cells, f"{one.longest.value:.0f} ({_signed(one.longest_moved, 0)})", verdict)
    return table


def _signed(estimate: Estimate, digits: int = 1) -> str:
    return f"{estimate.value:+.{digits}f} ± {estimate.plus_minus or 0:.{digits}f}"


def _grid_table(evidence: str, cells: list[Cell], site: str) -> Table:
    shares = list(dict.fromkeys(cell.in_others for cell in cells))
    title = f"{evidence}; {site}: mean wait of SAH, LVO, ICH less EDF's, min; all that is asked holds where marked ✓"
    table = Table(title=title, title_justify="left")
    table.add_column("seen in SAH", justify="right")
    for share in shares:
        table.add_column(f"in {share:.0%} of others", justify="right")
    for in_sah, row in _by_row(cells):
        table.add_row(f"{in_sah:.0%}", *(_cell(cell) for cell in row))
    return table


def _by_row(cells: list[Cell]) -> Iterator[tuple[float, list[Cell]]]:
    for in_sah in dict.fromkeys(cell.in_sah for cell in cells):
        yield in_sah, [cell for cell in cells if cell.in_sah == in_sah]


def _cell(cell: Cell) -> str:
    moved = cell.found.moved
    mark = "[green]✓[/]" if cell.found.whole else " "
    return f"{moved['SAH'].value:+.0f} {moved['LVO'].value:+.1f} {moved['ICH'].value:+.1f} {mark}"
