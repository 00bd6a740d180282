"""`readfirst doctor`: what is wrong with the machine, the servers or the stack, and how to mend it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.adapters.local import checks
from pipeline.adapters.local.checks import Finding, Verdict, examine
from pipeline.adapters.local.stack import settings_of, status
from pipeline.cli.running import folder
from pipeline.errors import StackError
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.adapters.onnx.versions import ModelVersions

_MARKS = {Verdict.OK: "[green]ok[/]", Verdict.WARNING: "[yellow]warning[/]", Verdict.FAILED: "[red]failed[/]"}
_CLOCK_TOLERANCE_S = 2.0


def register(app: typer.Typer) -> None:
    """Adds the command `doctor`."""
    app.command(epilog="Example: readfirst doctor --external")(doctor)


def doctor(
    data: Annotated[Path | None, typer.Option(help="the data folder to look at")] = None,
    external: Annotated[bool, typer.Option("--external", help="check the servers named in the settings, not the local ones")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="a list of {check, verdict, found, remedy}")] = False,
) -> None:
    """Checks the machine, the servers and the running stack, and says how to mend what is wrong. Exit code 1 if a check failed."""
    place = folder(data).absolute()
    findings = list(_findings(place, external))
    if as_json:
        typer.echo(json.dumps([asdict(finding) for finding in findings], indent=1))
    else:
        _show(findings)
    if any(finding.verdict is Verdict.FAILED for finding in findings):
        raise typer.Exit(1)


def _findings(place: Path, external: bool) -> Iterator[Finding]:
    stack = status(place)
    external = external or (stack.running and stack.external)
    settings = settings_of(place) if stack.running and not external else Settings().model_copy(update={"data": place})
    yield from checks.machine(settings, external)
    yield examine("time zone", lambda: _zone(settings.gateways.default_time_zone))
    yield examine("models", partial(_models, settings), failed=Verdict.WARNING)
    if stack.running or external:
        yield from _servers(settings)
    if stack.running:
        yield from checks.processes(stack)
        yield from checks.heartbeats(place, tuple(part.name for part in stack.parts if part.kind == "role"))
    else:
        yield Finding("stack", Verdict.OK, "not running; start it with `readfirst up`")


def _servers(settings: Settings) -> Iterator[Finding]:
    """The servers as the roles would reach them, SASL and TLS included."""
    looks: dict[str, Callable[[Settings], str]] = {
        "kafka": _kafka,
        "topics": _topics,
        "postgres": _postgres,
        "migrations": _migrations,
        "clock": _clock,
    }
    for check, look in looks.items():
        yield examine(check, partial(look, settings))
    yield examine("triton server", partial(_triton, settings), failed=Verdict.WARNING)
    if settings.triton.url is not None:
        yield examine("model versions", partial(_versions, settings, settings.triton.url), failed=Verdict.WARNING)


def _kafka(settings: Settings) -> str:
    from confluent_kafka import KafkaException
    from confluent_kafka.admin import AdminClient

    from pipeline.adapters.kafka.connection import client_config

    try:
        brokers = AdminClient({**client_config(settings.kafka), "log_level": 0}).list_topics(timeout=5).brokers
    except KafkaException as error:
        remedy = "check READFIRST_KAFKA__BOOTSTRAP_SERVERS, …__SECURITY_PROTOCOL, …__SASL_* and …__SSL_*; for the local stack: readfirst up"
        raise StackError(f"no answer from {settings.kafka.bootstrap_servers}: {error.args[0].str()}", remedy) from error
    return f"{len(brokers)} broker(s) at {settings.kafka.bootstrap_servers}, {settings.kafka.security_protocol}"


def _topics(settings: Settings) -> str:
    from pipeline.adapters.kafka import topics

    topics.check(settings.kafka)
    return f"all there, {settings.kafka.partitions} partitions each"


def _postgres(settings: Settings) -> str:
    with _connection(settings) as connection:
        row = connection.execute("select version()").fetchone()
    return " ".join(str(row[0]).split()[:2]) if row else ""


def _migrations(settings: Settings) -> str:
    from pipeline.adapters.postgres import schema

    current, head = schema.current_revision(settings.postgres.dsn.get_secret_value()), schema.head_revision()
    if current != head:
        raise StackError(f"the database is at {current or 'no revision'}, this version needs {head}", "run: readfirst run migrate")
    return f"at {head}"


def _clock(settings: Settings) -> str:
    """Deadlines are compared across machines, so their clocks must agree."""
    with _connection(settings) as connection:
        before = datetime.now(UTC)
        row = connection.execute("select clock_timestamp()").fetchone()
        after = datetime.now(UTC)
    assert row is not None
    apart = abs((row[0] - (before + (after - before) / 2)).total_seconds())
    if apart > _CLOCK_TOLERANCE_S:
        raise StackError(
            f"this clock and that of Postgres are {apart:.1f} s apart", "run a time service (chrony, systemd-timesyncd) on both"
        )
    return f"{apart * 1000:.0f} ms from that of Postgres"


def _triton(settings: Settings) -> str:
    from tritonclient.grpc import InferenceServerClient
    from tritonclient.utils import InferenceServerException

    url, model = settings.triton.url, settings.triton.model
    if url is None:
        raise StackError("none: scores are computed in-process", "see the check `triton`, or set READFIRST_TRITON__URL")
    client = InferenceServerClient(url)
    try:
        if not client.is_model_ready(model, client_timeout=3):
            raise StackError(f"{url} answers, but its model {model} is not ready", "read the Triton log")
    except InferenceServerException as error:
        raise StackError(f"no answer from {url}: {error.message()}", "until it answers, scores are computed in-process") from error
    finally:
        client.close()
    return f"{model} is ready at {url}"


def _versions(settings: Settings, url: str) -> str:
    """A promotion that was killed on its way, or a version that was damaged since, may leave Triton and the site apart."""
    from pipeline.adapters.triton import control

    for each in _all_models(settings):
        served, answers = each.kind.reference(each.examined().folder).version, control.version(url, each.model)
        if answers != served:
            raise StackError(f"Triton answers with version {answers} of {each.model}, the site with {served}", "start Triton again")
    return "Triton answers with those that the site serves"


def _models(settings: Settings) -> str:
    """The version of each that answers. Raises StackError where one that was promoted cannot be used."""
    models = [(each, each.examined()) for each in _all_models(settings)]
    if refused := [f"{each.model}: {found.refusal}" for each, found in models if found.refusal is not None]:
        remedy = "put its files back, or promote the same candidate again; or readfirst promote --rollback, for an image head with --model"
        raise StackError("; ".join(refused), remedy)
    return ", ".join(f"{each.model} {each.kind.reference(found.folder).version}" for each, found in models)


def _all_models(settings: Settings) -> list[ModelVersions]:
    from pipeline.adapters.onnx import heads
    from pipeline.adapters.onnx.versions import ModelVersions

    of_heads = (ModelVersions.of_head(settings.models_dir, name) for name in heads.names())
    return [ModelVersions(settings.models_dir, settings.triton.model), *of_heads]


def _connection(settings: Settings) -> psycopg.Connection:
    try:
        return psycopg.connect(settings.postgres.dsn.get_secret_value(), connect_timeout=5)
    except psycopg.OperationalError as error:
        remedy = "check READFIRST_POSTGRES__DSN; for the local stack: readfirst up"
        raise StackError(f"no answer: {str(error).strip().splitlines()[0]}", remedy) from error


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as error:
        remedy = "set READFIRST_GATEWAYS__DEFAULT_TIME_ZONE to an IANA name, or install the package tzdata"
        raise StackError(f"the time zone {name} is not known on this machine", remedy) from error
    return name


def _show(findings: list[Finding]) -> None:
    table = Table("check", "", "found", box=None)
    for finding in findings:
        remedy = f"\n[bold]what to do:[/] {escape(finding.remedy)}" if finding.remedy else ""
        table.add_row(finding.check, _MARKS[finding.verdict], escape(finding.found) + remedy)
    Console().print(table)
