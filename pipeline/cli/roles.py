"""`readfirst run ROLE`: one process of the product, as the local stack, compose and Kubernetes start it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.adapters.local.heartbeat import Heartbeat
from pipeline.adapters.local.loop import run as run_loop
from pipeline.adapters.telemetry.endpoint import Check, Endpoint
from pipeline.adapters.telemetry.logging import configure
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.errors import StackError
from pipeline.settings import Settings, site_key

if TYPE_CHECKING:
    from pipeline.bootstrap import Resources
    from pipeline.gateways.dicom.reception import Needs
    from pipeline.services.intake import Intake

AGENTS = ("agent-context", "agent-scoring", "agent-ranking", "agent-escalation", "agent-pictures")


def register(app: typer.Typer) -> None:
    """Adds the command `run`."""
    app.command("run", epilog="Example: readfirst run gateway-hl7")(run)


def run(
    role: Annotated[
        str, typer.Argument(help=f"one of: migrate, topics, models, gateway-dicom, gateway-hl7, gateway-http, web, {', '.join(AGENTS)}")
    ],
) -> None:
    """Runs one role in this process, configured by READFIRST_ settings."""
    settings = Settings()
    configure(settings.log_format, settings.log_level)
    if role in AGENTS:
        # The agents stand above this package, so they are started as a program of their own, in this very process.
        os.execv(sys.executable, [sys.executable, "-m", "agents", role])
    if role in ONCE:
        ONCE[role](settings)
    elif role in SERVERS:
        run_loop(_serve(role, settings))
    else:
        raise typer.BadParameter(f"{role!r} is no role; there are: {', '.join([*ONCE, *SERVERS, *AGENTS])}")


@dataclass(frozen=True)
class Life:
    """A serving role's own: what it is called, when it shall stop, and where it says how it is."""

    role: str
    stop: asyncio.Event
    endpoint: Endpoint

    async def until_stopped(self, address: str, *checks: Check) -> None:
        """From now on it takes work; returns when it shall stop."""
        heartbeat = Heartbeat(self.role, address)
        self.endpoint.ready(heartbeat, asyncio.get_running_loop(), *checks)
        beat = asyncio.create_task(heartbeat.beat())
        await self.stop.wait()
        beat.cancel()
        with suppress(asyncio.CancelledError):
            await beat


async def _serve(role: str, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    endpoint = Endpoint(role, settings.telemetry)
    TRACING.start(role, settings.telemetry)
    try:
        await SERVERS[role](settings, Life(role, stop, endpoint))
    finally:
        endpoint.close()


@asynccontextmanager
async def _intake(life: Life, resources: Resources) -> AsyncIterator[Intake]:
    """A gateway's way in, behind the gate that too many dead letters close; its figures are served."""
    from pipeline.adapters.telemetry import exports

    async with resources.intake_gate() as gate:
        intake = resources.intake(gate.check)
        exports.gateway(life.role.removeprefix("gateway-"), intake, gate)
        exports.database(resources.database)
        yield intake


def _needs(resources: Resources, intake: Intake) -> Needs:
    from pipeline.gateways.dicom.reception import Needs

    key = site_key(resources.settings)
    return Needs(intake, resources.objects, resources.vault, resources.studies, key, resources.clock)


async def _hl7(settings: Settings, life: Life) -> None:
    from pipeline import bootstrap
    from pipeline.adapters.telemetry import exports
    from pipeline.gateways.hl7.server import serve

    async with bootstrap.resources(settings) as resources, _intake(life, resources) as intake:
        server = await serve(settings, intake, site_key(settings), resources.clock)
        exports.lines("hl7", server.counts)
        await life.until_stopped(f"{settings.gateways.host}:{settings.gateways.mllp_port}", resources.ping)
        await server.stop()


async def _dicom(settings: Settings, life: Life) -> None:
    from pipeline import bootstrap
    from pipeline.gateways.dicom.scp import serve

    async with bootstrap.resources(settings) as resources, _intake(life, resources) as intake:
        server = serve(settings, _needs(resources, intake))
        await life.until_stopped(f"{settings.gateways.host}:{settings.gateways.dicom_port}", resources.ping, resources.objects.ping)
        await server.aclose()


async def _http(settings: Settings, life: Life) -> None:
    from pipeline import bootstrap
    from pipeline.gateways.http.app import create_app

    async with bootstrap.resources(settings) as resources, _intake(life, resources) as intake:
        app = create_app(settings, _needs(resources, intake))
        await _uvicorn(life, app, settings.gateways.host, settings.gateways.http_port, resources.ping, resources.objects.ping)


async def _web(settings: Settings, life: Life) -> None:
    from pipeline import bootstrap
    from pipeline.adapters.postgres.maintenance import keep_maintained
    from pipeline.adapters.postgres.site import PostgresSiteRegister
    from pipeline.adapters.telemetry import exports
    from pipeline.services import ledger
    from pipeline.services.churn import ChurnWatch
    from pipeline.worklist.alerts import AlertsApi
    from pipeline.worklist.app import create_app
    from pipeline.worklist.operations import OperationsApi
    from pipeline.worklist.stream import ChangeHub

    async with (
        bootstrap.resources(settings) as resources,
        resources.site_rules() as rules,
        resources.monitor(exports.ranked) as monitor,
        bootstrap.attribution(settings, resources.worklist) as attribution,
    ):
        hub = ChangeHub(resources.worklist, resources.clock)
        exports.web(hub.clients, monitor, resources.database)
        app = create_app(
            resources.worklist,
            resources.actions,
            resources.vault,
            resources.clock,
            time_zone=settings.gateways.default_time_zone,
            allowed_hosts=settings.web.allowed_hosts,
            hub=hub,
            operations=OperationsApi(monitor, resources.letters(), resources.clock),
            rules=rules,
            figures=PostgresSiteRegister(resources.database),
            ledger=resources.ledger,
            feedback=resources.feedback,
            attribution=attribution,
            alerts=AlertsApi(resources.alerts, resources.alert_desk(), resources.clock),
        )
        churn = ChurnWatch(PostgresSiteRegister(resources.database), resources.clock, rules.policy)
        exports.site(rules)
        exports.churn(churn)
        restless = asyncio.create_task(churn.run(), name="churn")
        keep = timedelta(days=settings.postgres.keep_days)
        upkeep = asyncio.create_task(keep_maintained(resources.database, resources.clock, keep), name="upkeep")
        watching = asyncio.create_task(monitor.watch(), name="monitor")
        counting = asyncio.create_task(
            ledger.keep_told(resources.ledger, resources.clock, settings.gateways.default_time_zone, rules.policy), name="ledger"
        )
        await _uvicorn(life, app, settings.web.host, settings.web.port, resources.database.ping)
        upkeep.cancel()
        watching.cancel()
        restless.cancel()
        counting.cancel()


async def _uvicorn(life: Life, app: object, host: str, port: int, *checks: Check) -> None:
    from pipeline.worklist.server import server

    http = server(app, host, port)  # type: ignore[arg-type]
    serving = asyncio.create_task(http.serve())
    while not http.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.02)
    # uvicorn takes the signals for itself and ends its own loop; either end ends the other.
    serving.add_done_callback(lambda _: life.stop.set())
    if not serving.done():
        await life.until_stopped(f"{host}:{port}", *checks)
    http.should_exit = True
    await serving


def _migrate(settings: Settings) -> None:
    from pipeline.adapters.postgres.schema import migrate

    migrate(settings.postgres.dsn.get_secret_value())


def _topics(settings: Settings) -> None:
    from pipeline.adapters.kafka import topics

    for name in topics.create(settings.kafka):
        typer.echo(f"made topic {name}")


def _models(settings: Settings) -> None:
    """What Triton serves, from what this site has promoted."""
    from pipeline.models.serving import alone, build_repository

    told = settings.triton
    if told.repository is None:
        raise StackError("nothing says which folder Triton serves", "name it: READFIRST_TRITON__REPOSITORY")
    with alone(told.repository):
        build_repository(told.repository, told.flavour, settings.models_dir)
    typer.echo(f"built {told.repository} ({told.flavour})")


ONCE: dict[str, Callable[[Settings], None]] = {"migrate": _migrate, "topics": _topics, "models": _models}
SERVERS: dict[str, Callable[[Settings, Life], Awaitable[None]]] = {
    "gateway-hl7": _hl7,
    "gateway-dicom": _dicom,
    "gateway-http": _http,
    "web": _web,
}
