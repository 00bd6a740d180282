"""Runs one agent's application as this process, until SIGTERM."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

import faust
import structlog
import uvloop
from faust.types import TP

from pipeline.adapters.faust.application import together
from pipeline.adapters.faust.batches import fatal
from pipeline.adapters.faust.watch import watch
from pipeline.adapters.local.heartbeat import Heartbeat
from pipeline.adapters.local.loop import calm_collector
from pipeline.adapters.telemetry.endpoint import Endpoint
from pipeline.adapters.telemetry.tracing import TRACING
from pipeline.errors import StackError
from pipeline.settings import Settings
from schemas.topics import INPUTS

log = structlog.get_logger()


def run(role: str, settings: Settings) -> None:
    """Blocks until the worker is told to stop. Raises SystemExit with the worker's exit code."""
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    # by name: the other agents' imports would cost each worker's start
    app = import_module(f"agents.{role.removeprefix('agent-')}").build(settings)
    TRACING.start(role, settings.telemetry)
    heartbeat, endpoint = Heartbeat(role), Endpoint(role, settings.telemetry)
    alive: list[asyncio.Task[None]] = []
    names = [settings.kafka.topic_prefix + topic.name for topic in INPUTS]

    @app.on_partitions_assigned.connect  # type: ignore[untyped-decorator]
    async def assigned(_app: faust.App, assigned: set[TP], **_: Any) -> None:
        log.info("partitions_assigned", role=role, count=len(assigned))
        with fatal():
            if role == "agent-context" and not together(assigned, names):
                raise StackError(
                    "the partitions of the input topics are not on one worker together", "all topics need the same partition count"
                )
        if not alive:
            endpoint.ready(heartbeat, loop, app.ready)
            alive.append(asyncio.create_task(heartbeat.beat(), name="heartbeat"))
            alive.append(asyncio.create_task(watch(app), name="watch"))

    calm_collector()
    worker = faust.Worker(app, loop=loop, loglevel="WARN", redirect_stdouts=False, quiet=True)
    worker.spinner = None  # it would write its terminal codes into our log
    worker.execute_from_commandline()
