"""`readfirst run ROLE`: one process of the product, as the local stack, compose and Kubernetes start it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Annotated

import typer

from pipeline.adapters.local.heartbeat import Heartbeat
from pipeline.adapters.local.loop import run as run_loop
from pipeline.adapters.telemetry.logging import configure
from pipeline.settings import Settings

AGENTS = ("agent-context", "agent-scoring", "agent-ranking")


def register(app: typer.Typer) -> None:
    """Adds the command `run`."""
    app.command("run", epilog="Example: readfirst run gateway-hl7")(run)


def run(
    role: Annotated[
        str, typer.Argument(help=f"one of: migrate, topics, gateway-dicom, gateway-hl7, gateway-http, web, {', '.join(AGENTS)}")
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


async def _serve(role: str, settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await SERVERS[role](settings, stop)


async def _beat_until(stop: asyncio.Event, role: str, address: str) -> None:
    beat = asyncio.create_task(Heartbeat(role, address).beat())
    await stop.wait()
    beat.cancel()
    with suppress(asyncio.CancelledError):
        await beat


async def _hl7(settings: Settings, stop: asyncio.Event) -> None:
    from pipeline import bootstrap
    from pipeline.gateways.hl7.server import serve

    async with bootstrap.resources(settings) as resources:
        server = await serve(settings, resources.intake(), bootstrap.site_key(settings), resources.clock)
        await _beat_until(stop, "gateway-hl7", f"{settings.gateways.host}:{settings.gateways.mllp_port}")
        await server.stop()


async def _dicom(settings: Settings, stop: asyncio.Event) -> None:
    from pipeline import bootstrap
    from pipeline.gateways.dicom.scp import serve

    async with bootstrap.resources(settings) as resources:
        server = serve(
            settings,
            resources.intake(),
            resources.objects,
            resources.vault,
            resources.studies,
            bootstrap.site_key(settings),
            resources.clock,
        )
        await _beat_until(stop, "gateway-dicom", f"{settings.gateways.host}:{settings.gateways.dicom_port}")
        await server.aclose()


async def _http(settings: Settings, stop: asyncio.Event) -> None:
    from pipeline import bootstrap
    from pipeline.gateways.http.app import create_app

    async with bootstrap.resources(settings) as resources:
        app = create_app(
            settings,
            resources.intake(),
            resources.objects,
            resources.vault,
            resources.studies,
            bootstrap.site_key(settings),
            resources.clock,
        )
        await _uvicorn("gateway-http", app, settings.gateways.host, settings.gateways.http_port, stop)


async def _web(settings: Settings, stop: asyncio.Event) -> None:
    from pipeline import bootstrap
    from pipeline.adapters.postgres.maintenance import keep_maintained
    from pipeline.worklist.app import create_app

    async with bootstrap.resources(settings) as resources:
        app = create_app(
            resources.worklist,
            resources.actions,
            resources.vault,
            resources.clock,
            time_zone=settings.gateways.default_time_zone,
            allowed_hosts=settings.web.allowed_hosts,
        )
        keep = timedelta(days=settings.postgres.keep_days)
        upkeep = asyncio.create_task(keep_maintained(resources.database, resources.clock, keep), name="upkeep")
        await _uvicorn("web", app, settings.web.host, settings.web.port, stop)
        upkeep.cancel()


async def _uvicorn(role: str, app: object, host: str, port: int, stop: asyncio.Event) -> None:
    from pipeline.worklist.server import server

    http = server(app, host, port)  # type: ignore[arg-type]
    serving = asyncio.create_task(http.serve())
    while not http.started and not serving.done():  # noqa: ASYNC110 (uvicorn has no event for it)
        await asyncio.sleep(0.02)
    # uvicorn takes the signals for itself and ends its own loop; either end ends the other.
    serving.add_done_callback(lambda _: stop.set())
    if not serving.done():
        await _beat_until(stop, role, f"{host}:{port}")
    http.should_exit = True
    await serving


def _migrate(settings: Settings) -> None:
    from pipeline.adapters.postgres.schema import migrate

    migrate(settings.postgres.dsn.get_secret_value())


def _topics(settings: Settings) -> None:
    from pipeline.adapters.kafka import topics

    for name in topics.create(settings.kafka):
        typer.echo(f"made topic {name}")


ONCE: dict[str, Callable[[Settings], None]] = {"migrate": _migrate, "topics": _topics}
SERVERS: dict[str, Callable[[Settings, asyncio.Event], Awaitable[None]]] = {
    "gateway-hl7": _hl7,
    "gateway-dicom": _dicom,
    "gateway-http": _http,
    "web": _web,
}
