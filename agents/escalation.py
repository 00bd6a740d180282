"""The escalation agent: the worklist in, alerts and their messages out; and a timer for what no record tells of."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import faust
import structlog

from pipeline import bootstrap
from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.telemetry import exports
from pipeline.errors import Unavailable
from pipeline.services.alert_steps import AlertSteps
from pipeline.settings import Settings
from schemas.topics import WORKLIST

log = structlog.get_logger()
GROUP = "readfirst-escalation"
SWEEP_EVERY_S = 5.0
LOOK_EVERY_S = 0.25
AFTER_TROUBLE_S = 1.0


def build(settings: Settings) -> faust.App:
    """The application; its one agent runs until the process ends."""
    app = application(GROUP, settings.kafka, settings.data / "faust" / "escalation")

    @app.agent(source(app, settings.kafka, [WORKLIST]))  # type: ignore[untyped-decorator]
    async def escalation(stream: Any) -> None:
        async with (
            bootstrap.resources(settings) as resources,
            resources.site_rules() as rules,
            resources.escalation(GROUP, rules.policy) as parts,
            asyncio.TaskGroup() as tasks,
        ):
            app.needs.append(resources.ping)
            exports.escalation(parts.stage, parts.escalation, parts.steps, resources.database)
            tasks.create_task(_keep(parts.escalation.sweep, SWEEP_EVERY_S))
            tasks.create_task(_keep(lambda: _steps(parts.steps), LOOK_EVERY_S))
            tasks.create_task(_keep(parts.steps.publish, LOOK_EVERY_S))
            await batches.run(app, stream, parts.stage, resources.offsets, settings.kafka.topic_prefix)

    return app


async def _steps(steps: AlertSteps) -> None:
    """Until nothing is due."""
    while await steps.advance():
        pass


async def _keep(work: Callable[[], Awaitable[Any]], every_s: float) -> None:
    """For ever. A server that is away stops nothing: steps wait, and are caught up."""
    while True:
        with batches.fatal():
            try:
                await work()
                pause = every_s
            except Unavailable as error:
                log.warning("escalation_waits", error=str(error))
                pause = AFTER_TROUBLE_S
        await asyncio.sleep(pause)
