"""The context agent: six input topics in, facts and windows in between, assessments and requests to score out."""

from __future__ import annotations

import asyncio
from typing import Any

import faust
import structlog

from pipeline import bootstrap
from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.telemetry import exports
from pipeline.errors import Unavailable
from pipeline.services.context import ContextStage
from pipeline.services.site_rules import POLL_S, SiteRulesInForce
from pipeline.settings import Settings
from schemas.topics import INPUTS

log = structlog.get_logger()
GROUP = "readfirst-context"


def build(settings: Settings) -> faust.App:
    """The application; its one agent runs until the process ends."""
    app = application(GROUP, settings.kafka, settings.data / "faust" / "context")

    @app.agent(source(app, settings.kafka, INPUTS))  # type: ignore[untyped-decorator]
    async def context(stream: Any) -> None:
        async with bootstrap.resources(settings) as resources, resources.site_rules() as rules, asyncio.TaskGroup() as tasks:
            stage = resources.context_stage(GROUP, rules.gather, exports.window_sizes())
            tasks.create_task(_follow(rules, stage))
            tasks.create_task(_catch_up(stage))
            app.needs.append(resources.ping)
            exports.context(stage, resources.database)
            await batches.run(app, stream, stage, resources.offsets, settings.kafka.topic_prefix, stage.forget)

    return app


async def _follow(rules: SiteRulesInForce, stage: ContextStage) -> None:
    with batches.fatal():
        await rules.changes(stage.reassess)


async def _catch_up(stage: ContextStage) -> None:
    """For ever: each partition that comes is looked at once."""
    while True:
        with batches.fatal():
            try:
                await stage.catch_up()
            except Unavailable as error:
                log.warning("context_waits", error=str(error))
        await asyncio.sleep(POLL_S)
