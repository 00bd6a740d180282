"""The HTTP gateway: FHIR and STOW-RS on one port."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipeline.gateways.http.fhir import FhirGateway
from pipeline.gateways.http.stow import StowGateway
from pipeline.ports import Clock, IdentityVault, ObjectStore, StudyLedger
from pipeline.services.intake import Intake
from pipeline.settings import Settings


def create_app(
    settings: Settings,
    intake: Intake,
    objects: ObjectStore,
    vault: IdentityVault,
    ledger: StudyLedger,
    site_key: bytes,
    clock: Clock,
) -> Starlette:
    """The application; it holds nothing of its own."""
    fhir = FhirGateway(intake, clock, site_key, settings.gateways)
    stow = StowGateway(settings, intake, objects, vault, ledger, site_key, clock)
    return Starlette(routes=[*fhir.routes(), *stow.routes(), Route("/livez", _alive)])


async def _alive(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")
