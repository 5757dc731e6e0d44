"""Prometheus endpoint, protected by the operator's token and disabled without one."""

from typing import Final

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from contatto.accounts.auth import HotRoute
from contatto.accounts.model import Access, Credential
from contatto.jobs.actions import load_gauges
from contatto.jobs.rules import CONTENT_TYPE, may_scrape, write_gauges
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.ui.requests import context_of


async def show_metrics(request: Request) -> Response:
    """Return the gauges in the Prometheus text format; 404 while no token is set."""
    context = context_of(request)
    token = context.settings.metrics_token
    if not token:
        raise Refused(errors.NOT_FOUND)
    if not may_scrape(token, request.headers.get("authorization", "")):
        challenge = {"WWW-Authenticate": "Bearer"}
        return PlainTextResponse("The token of metrics_token is needed.\n", 401, challenge)
    gauges = await context.db.read_long(load_gauges)
    return Response(write_gauges(gauges), media_type=CONTENT_TYPE, headers={"Cache-Control": "no-store"})


routes: Final = [HotRoute("GET", "/metrics", show_metrics, Access(Credential.ANYBODY))]
