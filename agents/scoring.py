"""The scoring agent: requests in, the model's answers out, most urgent first; scored again when the model is back."""

from __future__ import annotations

import asyncio
from typing import Any

import faust

from pipeline import bootstrap
from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.telemetry import exports
from pipeline.services.scoring import RESCORE_EVERY, ScoringStage
from pipeline.settings import Settings
from schemas.topics import ASSESS

GROUP = "readfirst-scoring"


def build(settings: Settings) -> faust.App:
    """The application; its one agent runs until the process ends."""
    app = application(GROUP, settings.kafka, settings.data / "faust" / "scoring")

    @app.agent(source(app, settings.kafka, [ASSESS]))  # type: ignore[untyped-decorator]
    async def scoring(stream: Any) -> None:
        async with bootstrap.resources(settings) as resources, resources.scoring_stage(GROUP) as stage, asyncio.TaskGroup() as tasks:
            app.needs.append(resources.ping)
            exports.scoring(stage, resources.database)
            tasks.create_task(_rescore(stage))
            await batches.run(app, stream, stage, resources.offsets, settings.kafka.topic_prefix)

    return app


async def _rescore(stage: ScoringStage) -> None:
    while True:
        await asyncio.sleep(RESCORE_EVERY.total_seconds())
        with batches.fatal():
            await stage.rescore()
