"""The picture agent: images that have arrived in, what the image models say of them out."""

from __future__ import annotations

from typing import Any

import faust

from pipeline import bootstrap
from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.telemetry import exports
from pipeline.settings import Settings
from schemas.topics import IMAGING

GROUP = "readfirst-pictures"


def build(settings: Settings) -> faust.App:
    """The application; its one agent runs until the process ends."""
    app = application(GROUP, settings.kafka, settings.data / "faust" / "pictures")

    @app.agent(source(app, settings.kafka, [IMAGING]))  # type: ignore[untyped-decorator]
    async def pictures(stream: Any) -> None:
        async with bootstrap.resources(settings) as resources, resources.picture_stage(GROUP) as stage:
            app.needs.append(resources.ping)
            exports.pictures(stage, resources.database)
            await batches.run(app, stream, stage, resources.offsets, settings.kafka.topic_prefix)

    return app
