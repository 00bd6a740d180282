"""The context agent: six input topics in, facts and windows in between, assessments and requests to score out."""

from __future__ import annotations

from typing import Any

import faust

from pipeline import bootstrap
from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.telemetry import exports
from pipeline.settings import Settings
from schemas.topics import INPUTS

GROUP = "readfirst-context"


def build(settings: Settings) -> faust.App:
    """The application; its one agent runs until the process ends."""
    app = application(GROUP, settings.kafka, settings.data / "faust" / "context")

    @app.agent(source(app, settings.kafka, INPUTS))  # type: ignore[untyped-decorator]
    async def context(stream: Any) -> None:
        async with bootstrap.resources(settings) as resources, resources.site_rules() as rules:
            stage = resources.context_stage(GROUP, rules.gather)
            exports.context(stage, resources.database)
            await batches.run(app, stream, stage, resources.offsets, settings.kafka.topic_prefix, stage.forget)

    return app
