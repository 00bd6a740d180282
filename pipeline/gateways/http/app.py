"""The HTTP gateway: FHIR and STOW-RS on one port."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from pipeline.gateways.dicom.reception import Needs
from pipeline.gateways.http.fhir import FhirGateway
from pipeline.gateways.http.stow import StowGateway
from pipeline.settings import Settings


def create_app(settings: Settings, needs: Needs) -> Starlette:
    """The application; it holds nothing of its own."""
    fhir = FhirGateway(needs.intake, needs.vault, needs.clock, needs.site_key, settings.gateways)
    stow = StowGateway(settings, needs)
    return Starlette(routes=[*fhir.routes(), *stow.routes(), Route("/livez", _alive)])


async def _alive(_request: Request) -> PlainTextResponse:
    return PlainTextResponse("ok\n")
