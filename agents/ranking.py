"""The ranking agent: assessments in, the ranked worklist in Postgres and on its topic out."""

from __future__ import annotations

import asyncio
from typing import Any

import faust

from pipeline import bootstrap
from pipeline.adapters.faust import batches
from pipeline.adapters.faust.application import application, source
from pipeline.adapters.telemetry import exports
from pipeline.services.reviews import Review
from pipeline.settings import Settings
from schemas.topics import ASSESSMENTS

GROUP = "readfirst-ranking"


def build(settings: Settings) -> faust.App:
    """The application; its one agent runs until the process ends."""
    app = application(GROUP, settings.kafka, settings.data / "faust" / "ranking")

    @app.agent(source(app, settings.kafka, [ASSESSMENTS]))  # type: ignore[untyped-decorator]
    async def ranking(stream: Any) -> None:
        async with bootstrap.resources(settings) as resources, resources.site_rules() as rules, asyncio.TaskGroup() as tasks:
            stage, review = resources.ranking_stage(GROUP, rules.policy), resources.review(rules.policy)
            app.needs.append(resources.ping)
            exports.site(rules)
            exports.ranking(stage, review)
            exports.database(resources.database)
            tasks.create_task(_review(review))
            await batches.run(app, stream, stage, resources.offsets, settings.kafka.topic_prefix)

    return app


async def _review(review: Review) -> None:
    with batches.fatal():
        await review.run()
