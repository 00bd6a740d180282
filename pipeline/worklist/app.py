"""Puts the web application together from its ports; nothing here knows which adapters they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from zoneinfo import ZoneInfo

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from pipeline.ports import Clock, FeedbackStore, IdentityVault, LedgerStore, SiteFigures, WorklistActions, WorklistReader
from pipeline.services.adjusting import Adjusting
from pipeline.services.attribution import RiskAttribution
from pipeline.services.site_rules import DefaultRules
from pipeline.worklist.adjusting_api import AdjustingApi, Rules
from pipeline.worklist.alerts import AlertsApi
from pipeline.worklist.api import WorklistApi
from pipeline.worklist.attribution import AttributionApi
from pipeline.worklist.ledger import LedgerPage
from pipeline.worklist.operations import OperationsApi
from pipeline.worklist.pages import Pages
from pipeline.worklist.people import People
from pipeline.worklist.pictures import PicturesApi
from pipeline.worklist.problems import HANDLERS
from pipeline.worklist.security import KnownHosts, SecurityHeaders
from pipeline.worklist.stream import ChangeHub, EventStream

LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
BODY_MAX_BYTES = 16 << 10


def create_app(
    reader: WorklistReader,
    actions: WorklistActions,
    vault: IdentityVault,
    clock: Clock,
    *,
    time_zone: str,
    allowed_hosts: Sequence[str] = LOOPBACK,
    hub: ChangeHub | None = None,
    operations: OperationsApi | None = None,
    rules: Rules | None = None,
    figures: SiteFigures | None = None,
    ledger: LedgerStore | None = None,
    alerts: AlertsApi | None = None,
    feedback: FeedbackStore | None = None,
    attribution: RiskAttribution | None = None,
) -> Starlette:
    """The application. time_zone: IANA name of the zone in which the page shows times (raises ZoneInfoNotFoundError).

    allowed_hosts: names under which browsers may reach it; any other Host is refused, which stops DNS rebinding.
    rules: the site's (None: the defaults). figures: what they lead to.
    hub: one that somebody else looks at too. operations, ledger, alerts: without it there is no /ops, no /ledger, no alert.
    feedback: where readers' words on findings go; without it nobody is asked. attribution: works out what single readings did to a risk.
    """
    ZoneInfo(time_zone)
    hub = hub or ChangeHub(reader, clock)
    rules = rules or DefaultRules()
    api = WorklistApi(reader, actions, People(vault, clock), hub, clock, rules.policy, alerts)
    adjusting = AdjustingApi(Adjusting(actions, clock, rules.policy), rules, figures, clock, api.answer_study)
    pictures = PicturesApi(reader, feedback, clock, rules.policy)
    stream = EventStream(hub, clock)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        following = asyncio.create_task(hub.run(), name="worklist-changes")
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following

    return Starlette(
        routes=[
            *api.routes(),
            *adjusting.routes(),
            *pictures.routes(),
            *(AttributionApi(attribution, clock).routes() if attribution else ()),
            Route("/api/events", stream.endpoint),
            *(alerts.routes() if alerts else ()),
            *(operations.routes(time_zone) if operations else ()),
            *(LedgerPage(ledger).routes(time_zone) if ledger else ()),
            *Pages(reader, clock, time_zone).routes(),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(KnownHosts, allowed_hosts=list(allowed_hosts), www_redirect=False),
            Middleware(GZipMiddleware, minimum_size=2000, compresslevel=3),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
        max_body_size=BODY_MAX_BYTES,
    )
