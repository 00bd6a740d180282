"""`readfirst simulate`: the department simulator, and the golden tables that it is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from pipeline.cli import sensitivity
from pipeline.errors import NotFound, StackError

if TYPE_CHECKING:
    from pipeline.simulation.department.golden import Row
    from pipeline.simulation.department.intervals import Estimate
    from pipeline.simulation.department.report import Report, Waits
    from pipeline.simulation.department.scenario import Rule, Scenario
    from pipeline.simulation.department.sensitivity import Comparison

GOLDEN, SENSITIVITY = "golden", "sensitivity"


def register(app: typer.Typer) -> None:
    """Adds the command `simulate`."""
    app.command(
        epilog="Example: readfirst simulate policies --plot waits.svg     Example: readfirst simulate --log day.rfl --against new.yaml"
    )(simulate)


def simulate(
    scenario: Annotated[
        str | None,
        typer.Argument(
            help="a shipped scenario, the path of a TOML file, `golden`: the published tables, or `sensitivity`: Readfirst beside "
            "fixed deadlines, and how good its evidence must be"
        ),
    ] = None,
    policy: Annotated[list[str] | None, typer.Option(help="only this policy of the scenario; may be given several times")] = None,
    exams: Annotated[int | None, typer.Option(min=1000, help="studies; else what the scenario says")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="another seed gives other studies of the same kind")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object, nothing else, on standard output")] = False,
    plot: Annotated[Path | None, typer.Option(help="writes waits and open studies as SVG")] = None,
    nightly: Annotated[bool, typer.Option(help="golden: 2 million studies a figure instead of 200,000")] = False,
    log: Annotated[Path | None, typer.Option(help="instead of a scenario: a recorded log (.rfl), read again under other rules")] = None,
    site: Annotated[Path | None, typer.Option(help="the rules by which Readfirst ranks, a site file; else the defaults")] = None,
    against: Annotated[Path | None, typer.Option(help="log: the rules as they might be, a site file")] = None,
    scorer: Annotated[str, typer.Option(help="log: model, recorded or rules")] = "model",
    against_scorer: Annotated[str | None, typer.Option(help="log: the other rules' scores: model, recorded or rules")] = None,
) -> None:
    """What a reading order does to waiting times: by true class, AI class and order, in minutes.

    All policies see the same studies. Intervals are of 95 % (batch means). Readfirst's own deadlines come from the code that ranks live.
    """
    if log is not None:
        if scenario is not None:
            raise StackError("a log and a scenario are two things", "give one of them")
        from pipeline.cli.what_if import what_if

        what_if(log, site, against, scorer, against_scorer, as_json)
        return
    if scenario is None:
        raise StackError("nothing to simulate", "name a scenario (readfirst simulate policies), `golden`, or a log with --log")
    console = Console(stderr=True)
    with console.status("starting") as status:
        if scenario == GOLDEN:
            if policy or plot:
                raise StackError("golden compares published tables: --policy and --plot do not apply", "name a scenario instead")
            if site:
                raise StackError("golden is of the rules that ship", "name a site file with `readfirst simulate sensitivity --site`")
            good = _golden(exams, seed, nightly, as_json, lambda what: status.update(f"simulating {what}"))
            raise typer.Exit(0 if good else 1)
        if nightly:
            raise StackError("--nightly is of the golden tables", "use --exams")
        if scenario == SENSITIVITY:
            if policy or plot:
                raise StackError("sensitivity has its own policies and tables: --policy and --plot do not apply", "name a scenario instead")
            good = sensitivity.sensitivity(exams, seed, site, as_json, _console(), lambda what: status.update(f"simulating {what}"))
            raise typer.Exit(0 if good else 1)
        report = _report(scenario, policy, exams, seed, site, lambda what: status.update(f"simulating {what}"))
    if plot:
        _write(plot, report)
    if as_json:
        typer.echo(_json(report))
    else:
        _show(report)


def _report(scenario: str, policy: list[str] | None, exams: int | None, seed: int | None, site: Path | None, step: Any) -> Report:
    from pipeline.domain.site import DEFAULT
    from pipeline.simulation.department import loading
    from pipeline.simulation.department.report import simulate as run

    found = loading.load(scenario)
    return run(found, _chosen(found, policy), exams, seed, step=step, site=sensitivity.site_rules(site) if site else DEFAULT)


def _chosen(scenario: Scenario, names: list[str] | None) -> list[Rule]:
    rules = {rule.name: rule for rule in scenario.policies}
    if unknown := set(names or []) - set(rules):
        raise NotFound(f"scenario {scenario.name} has no policy {min(unknown)!r}; it has: {', '.join(rules)}")
    return [rules[name] for name in dict.fromkeys(names or rules)]


def _write(path: Path, report: Report) -> None:
    from pipeline.simulation.department.plot import svg

    try:
        path.write_text(svg(report), "utf-8")
    except OSError as error:
        raise StackError(f"{path} cannot be written: {error.strerror}", "choose another file for --plot") from error
    Console(stderr=True).print(f"written: {path}", highlight=False)


def _json(found: Any) -> str:
    import msgspec

    return msgspec.json.encode(found).decode()


# --- a scenario --------------------------------------------------------------------------------------------------------------------


def _console() -> Console:
    """A table of waits has many columns: in a pipe they are never cut, in a narrow terminal the words fold."""
    console = Console()
    return console if console.is_terminal else Console(width=160)


def _show(report: Report) -> None:
    console = _console()
    console.print(f"[bold]{report.title}[/bold]", highlight=False)
    ppv = report.positive_predictive_value
    alerts = "" if ppv is None else f"; {report.alerts_per_hundred:.1f} alerts per 100 studies, PPV {ppv:.2f}"
    console.print(
        f"{report.studies:,} studies, seed {report.seed}; load {report.load:.3f}, with AI {report.load_with_ai:.3f}{alerts}; "
        f"Readfirst's rules: {report.site}",
        highlight=False,
    )
    for assumption in report.assumptions:
        console.print(f"  assumed: {assumption}", highlight=False, soft_wrap=True)
    for title, attribute in (("true class", "by_disease"), ("AI class", "by_ai"), ("order", "by_order")):
        console.print(_table(report, title, attribute))
    console.print(_balance(report))
    for policy in report.policies:
        console.print(f"  {policy.name}: {policy.bound.words}", highlight=False, soft_wrap=True)


def _table(report: Report, title: str, attribute: str) -> Table:
    """One line a policy and class."""
    table = Table(title=f"wait by {title}, min", title_justify="left")
    table.add_column("policy", overflow="fold")
    table.add_column(title)
    for column in ("studies", "mean", "±", "median", "p95", "p99", "maximum", "turnaround", "late"):
        table.add_column(column, justify="right")
    for policy in report.policies:
        classes: dict[str, Waits] = getattr(policy, attribute)
        for n, (name, waits) in enumerate(classes.items()):
            table.add_row(policy.name if n == 0 else "", name, *_cells(waits), end_section=n == len(classes) - 1)
    return table


def _cells(waits: Waits) -> list[str]:
    return [
        f"{waits.studies:,}",
        f"{waits.mean.value:.1f}",
        "" if waits.mean.plus_minus is None else f"{waits.mean.plus_minus:.1f}",
        f"{waits.median:.1f}",
        f"{waits.p95.value:.0f}",
        f"{waits.p99.value:.0f}",
        f"{waits.maximum:.0f}",
        f"{waits.turnaround:.1f}",
        f"{100 * waits.late:.1f} %",
    ]


def _balance(report: Report) -> Table:
    table = Table(title="against first come, first served, on the same studies", title_justify="left")
    table.add_column("policy")
    for column in (
        "saved per true positive",
        "added per other",
        "added per non-diseased",
        "open: mean",
        "p95",
        "maximum",
        "studies/s",
    ):
        table.add_column(column, justify="right")
    for policy in report.policies:
        moved = [_interval(one) for one in (policy.saved_per_true_positive, policy.added_per_other, policy.added_per_non_diseased)]
        there = policy.open_studies
        table.add_row(policy.name, *moved, f"{there.mean:.1f}", f"{there.p95:.0f}", f"{there.maximum}", f"{policy.studies_per_second:,.0f}")
    return table


def _interval(estimate: Estimate | None) -> str:
    if estimate is None:
        return "-"
    return f"{estimate.value:.2f}" + ("" if estimate.plus_minus is None else f" ± {estimate.plus_minus:.2f}")


# --- golden ------------------------------------------------------------------------------------------------------------------------


def _golden(exams: int | None, seed: int | None, nightly: bool, as_json: bool, step: Any) -> bool:
    from pipeline.domain.site import DEFAULT
    from pipeline.simulation.department import golden, golden_policies, published
    from pipeline.simulation.department.sensitivity import Room, demanded

    studies = exams or (golden.NIGHTLY_STUDIES if nightly else golden.CI_STUDIES)
    chosen = 1 if seed is None else seed
    rows = list(golden.tables(studies, chosen, step))
    rows += golden_policies.policy_table(chosen, golden_policies.NIGHTLY_RUNS if nightly else published.RUNS, step)
    step("Readfirst beside EDF 20/45/480")
    compared = list(demanded(Room(studies, chosen), DEFAULT))
    good = all(row.holds for row in rows) and all(one.holds for one in compared)
    if as_json:
        typer.echo(json.dumps({"studies": studies, "seed": chosen, "holds": good, **_as_objects(rows, compared)}))
    else:
        _show_golden(rows, compared, good)
    return good


def _as_objects(rows: list[Row], compared: list[Comparison]) -> dict[str, Any]:
    import msgspec

    return {
        "figures": [{**msgspec.to_builtins(row), "holds": row.holds} for row in rows],
        "readfirst": [sensitivity.as_object(one) for one in compared],
    }


def _show_golden(rows: list[Row], compared: list[Comparison], good: bool) -> None:
    console = _console()
    for title in dict.fromkeys(row.table for row in rows):
        console.print(_golden_table(title, [row for row in rows if row.table == title]))
    for note in dict.fromkeys(row.note for row in rows if row.note):
        console.print(f"  * {note}", highlight=False, soft_wrap=True)
    sensitivity.show_compared(compared, console)
    out = [row.name for row in rows if not row.holds]
    verdict = "all figures hold" if good else f"out of bounds: {', '.join(out) or 'Readfirst beside EDF 20/45/480'}"
    console.print(f"[{'green' if good else 'red'}]{verdict}[/]", highlight=False)


def _golden_table(title: str, rows: list[Row]) -> Table:
    table = Table(title=f"{title}, min", title_justify="left")
    table.add_column("figure")
    for column in ("published", "closed form", "deviation", "simulated (99.9 %)", "deviation", ""):
        table.add_column(column, justify="right")
    for row in rows:
        ours = ("-", "-") if row.ours is None else (f"{row.ours:.2f}", _deviation(row.ours, row.published))
        simulated = ("-", "-") if row.simulated is None else (_interval(row.simulated), _deviation(row.simulated.value, row.reference))
        verdict = ("[green]holds[/]" if row.holds else "[red]out[/]") + (" *" if row.note else "")
        table.add_row(row.name, f"{row.published:g}", *ours, *simulated, verdict)
    return table


def _deviation(value: float, published: float) -> str:
    return f"{100 * (value / published - 1):+.2f} %"
