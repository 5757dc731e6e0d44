"""Web app: routes, middleware, and answers to errors."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from itertools import groupby
from typing import Final
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.staticfiles import PathLike, StaticFiles
from starlette.types import ASGIApp, Scope

import contatto.accounts.api
import contatto.accounts.pages
import contatto.ad_platforms.pages
import contatto.ads.api.campaigns
import contatto.ads.api.options
import contatto.ads.api.smart_plus
import contatto.ads.pages.audiences
import contatto.ads.pages.forms
import contatto.ads.pages.tree
import contatto.alerts.pages
import contatto.audiences.api
import contatto.capture.api
import contatto.capture.pages
import contatto.channels.pages
import contatto.crm.api
import contatto.crm.pages.deliveries
import contatto.crm.pages.targets
import contatto.delivery.api
import contatto.delivery.pages
import contatto.forms.api
import contatto.forms.pages
import contatto.guide.pages
import contatto.home.pages
import contatto.inbox.api.conversations
import contatto.inbox.api.webhooks
import contatto.inbox.pages.chat
import contatto.inbox.pages.desk
import contatto.jobs.api
import contatto.jobs.pages
import contatto.leads.pages.bulk
import contatto.leads.pages.center
import contatto.leads.pages.detail
import contatto.measurement.api
import contatto.operators.pages
import contatto.people.pages
import contatto.reports.api
import contatto.reports.pages.ads
import contatto.reports.pages.attribution
import contatto.reports.pages.report
import contatto.signals.api
import contatto.signals.pages
import contatto.subscriptions.api
import contatto.subscriptions.pages
from contatto import __version__
from contatto.accounts.auth import (
    AuditLayer,
    DeclaredRoute,
    DirectRoute,
    HotRoute,
    KeptAnswers,
    LinkRules,
    api_caller,
)
from contatto.accounts.model import Access, Credential, ReadAudit
from contatto.delivery.actions.serving import AdServer
from contatto.kit import errors
from contatto.kit.api_types import api_refusal, refusal_answer
from contatto.kit.background import Installation
from contatto.kit.concurrency import REQUESTS_AT_ONCE, RequestSlotLayer, TenantSlots
from contatto.kit.db.database import open_storage
from contatto.kit.db.tx import Clock
from contatto.kit.errors import Refused
from contatto.kit.form_fields import split_fault
from contatto.kit.i18n import N_
from contatto.kit.log import logger, where
from contatto.kit.openapi import describe_api, list_operations
from contatto.kit.sandbox import SandboxPool
from contatto.kit.untrusted_files import PICTURE_LIMIT, TABLE_LIMIT
from contatto.kit.uploads import Uploads
from contatto.leads.ports import LeadPorts
from contatto.measurement.actions import ChargePort
from contatto.measurement.engines.sealing import BrokenFile
from contatto.ui.live import LiveFeed
from contatto.ui.render import ASSET_FOLDERS, CookieRules, Renderer, is_navigation, translator_of
from contatto.ui.requests import Context, FastPath, SecurityLayer, context_of, grouped, redirect_slashes
from contatto.worker import Worker

HOT_ROUTES: Final[tuple[HotRoute, ...]] = (
    *contatto.crm.api.routes,
    *contatto.jobs.api.routes,
    *contatto.inbox.api.webhooks.routes,
    *contatto.inbox.api.conversations.routes,
    *contatto.inbox.pages.chat.routes,
    *contatto.measurement.api.routes,
    *contatto.delivery.api.routes,
)
"""Plain Starlette routes: messages and forms in, ad decisions, tracking."""

_ROUTERS: Final = (
    contatto.accounts.api.router,
    contatto.accounts.pages.router,
    contatto.ad_platforms.pages.upload_router,
    contatto.ad_platforms.pages.router,
    contatto.ads.api.campaigns.campaign_router,
    contatto.ads.api.campaigns.ad_group_router,
    contatto.ads.api.campaigns.ad_router,
    contatto.ads.api.smart_plus.router,
    contatto.ads.api.options.welcome_router,
    contatto.ads.api.options.identity_router,
    contatto.ads.api.options.targeting_router,
    contatto.ads.api.options.eligibility_router,
    contatto.ads.api.options.audience_router,
    contatto.ads.pages.tree.router,
    contatto.ads.pages.audiences.router,
    contatto.ads.pages.forms.router,
    contatto.alerts.pages.router,
    contatto.audiences.api.router,
    contatto.capture.api.router,
    contatto.capture.pages.router,
    contatto.channels.pages.router,
    contatto.crm.api.event_router,
    contatto.crm.api.ledger_router,
    contatto.crm.pages.targets.consent_router,
    contatto.crm.pages.targets.router,
    contatto.crm.pages.deliveries.router,
    contatto.crm.pages.deliveries.lead_router,
    contatto.delivery.api.router,
    contatto.delivery.pages.router,
    contatto.forms.api.form_router,
    contatto.forms.api.test_lead_router,
    contatto.forms.api.file_router,
    contatto.forms.api.lead_router,
    contatto.forms.pages.router,
    contatto.guide.pages.router,
    contatto.inbox.api.conversations.router,
    contatto.inbox.api.webhooks.router,
    contatto.inbox.pages.chat.router,
    contatto.inbox.pages.desk.router,
    contatto.home.pages.router,
    contatto.jobs.pages.router,
    contatto.leads.pages.center.router,
    contatto.leads.pages.bulk.router,
    contatto.leads.pages.detail.router,
    contatto.operators.pages.router,
    contatto.people.pages.router,
    contatto.signals.api.router,
    contatto.signals.pages.router,
    contatto.subscriptions.api.router,
    contatto.subscriptions.pages.router,
    contatto.reports.api.router,
    contatto.reports.pages.ads.router,
    contatto.reports.pages.report.router,
    contatto.reports.pages.attribution.router,
)
ROUTES: Final = tuple(route for router in _ROUTERS for route in router.routes)
"""Routes of pages and of the API, with an access rule each."""
_grouped_routes: Final = cache(partial(grouped, ROUTES))
"""All routes in groups; cached, so that FastAPI analyses their parameters only once."""

_ALL_ROUTES: Final[tuple[HotRoute | DeclaredRoute, ...]] = (*HOT_ROUTES, *ROUTES)
ACCESS: Final[Mapping[str, Access]] = {
    **{
        f"{method} {route.path}": route.access
        for route in _ALL_ROUTES
        for method in (route.methods or set()) - {"HEAD"}
    },
    **dict.fromkeys(
        ("GET /docs", "GET /openapi.json", *(f"GET /static/{owner}" for owner in ASSET_FOLDERS)),
        Access(Credential.ANYBODY),
    ),
}
"""Access rules by method and path."""
SHOWS_CONTACTS: Final[Mapping[str, ReadAudit]] = {
    f"{method} {route.path}": route.audit for route in ROUTES for method in route.methods or () if route.audit
}
"""Read audit of routes that show contact values, by method and path."""
API_PREFIX: Final = "/open_api/"
NEEDED_PORTS: Final = (LeadPorts, ChargePort)
"""The app does not start without these ports: a rule that uses one would fail silently."""
OPEN_PATHS: Final = frozenset(
    route.path
    for route in ROUTES
    if route.path.startswith(API_PREFIX) and route.access.credential is not Credential.PROGRAM
)
"""Paths of the API without a token in the header, but with an auth code or the secret of an app."""
PUBLIC_PATHS: Final = ("/static/", "/form-pictures/")
"""Prefixes of paths with the same answer for everybody, which browsers and proxies may cache."""
_JSON_PREFIXES: Final = ("/webhooks/", "/integrations/webhooks/", "/delivery/", "/t/", "/media")
_CUSTOMERS: Final = ("/chat/", "/form/", "/t/", "/form-pictures/", "/media")
"""Paths of customers, whose error pages do not mention the log-in."""
_CHAT_API: Final = re.compile(r"/chat/[^/]+/(?!embed$)")
"""Requests of a chat page, which get their errors in JSON."""


class _Assets(StaticFiles):
    """Static files, cached for a year when the address has a hash, else revalidated each time."""

    def file_response(
        self, full_path: PathLike, stat_result: os.stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        response = super().file_response(full_path, stat_result, scope, status_code)
        hashed = b"v=" in scope["query_string"]
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable" if hashed else "no-cache"
        return response


def open_context(installation: Installation, clock: Clock | None = None) -> Context:
    """Open the context of an installation; close it with ``context.db.close()``.

    Raises:
        MissingPart: a needed port is missing.
    """
    for port in NEEDED_PORTS:
        installation.ports[port]
    settings, used_clock = installation.settings, clock or Clock()
    db = open_storage(settings, used_clock, installation.ports)
    cookies = CookieRules(settings.secure_cookies, settings.session_days)
    pages = Renderer(db.vault.signer("csrf"), cookies, LinkRules(ACCESS).may_open)
    live = LiveFeed(db, installation.event_permissions)
    return Context(installation, db, used_clock, db.vault, live, pages, Uploads(SandboxPool()))


def create_app(context: Context) -> FastAPI:
    """Build the app around an open context; the caller keeps the context and closes it."""
    app = _App(
        title="Contatto",
        version=__version__,
        summary="Direct-message lead ads: the TikTok Business API v1.3 shapes, with marked extensions.",
        lifespan=_lifespan,
        # Its spans would carry paths, and tracking links have their token in the path.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    app.state.access = ACCESS
    app.state.resources = context.installation.resources(context.db, context.settings)
    app.router.routes.extend([*HOT_ROUTES, *_grouped_routes()])
    app.router.default = partial(redirect_slashes, app.router)
    app.add_route("/docs", _show_docs, include_in_schema=False)
    # Built at the first request. FastAPI documents this assignment as the way to replace it.
    app.openapi = cache(lambda: describe_api(app, API_PREFIX, OPEN_PATHS))  # type: ignore[method-assign]
    for owner, folder in ASSET_FOLDERS.items():
        app.mount(f"/static/{owner}", _Assets(directory=folder), name=f"static-{owner}")
    app.add_exception_handler(Refused, _answer_refusal)
    app.add_exception_handler(BrokenFile, _answer_broken)
    app.add_exception_handler(RequestValidationError, _answer_invalid)
    app.add_exception_handler(HTTPException, _answer_http)
    # SQLite reads on the event loop, so a second request of a tenant at the same time gains nothing.
    app.add_middleware(RequestSlotLayer, slots=TenantSlots(REQUESTS_AT_ONCE, context.db.parallel_batches))
    app.add_middleware(AuditLayer, shows=SHOWS_CONTACTS, db=context.db)
    app.add_middleware(KeptAnswers)
    app.secured = partial(
        SecurityLayer,
        broken=_answer_broken,
        larger={
            "/photos": PICTURE_LIMIT + 1,
            "/leads/import/file": TABLE_LIMIT + 1,
            "/upload/file": TABLE_LIMIT + 1,
        },
        public=PUBLIC_PATHS,
        is_https=context.settings.secure_cookies,
    )
    app.add_middleware(app.secured)
    return app


class _App(FastAPI):
    """FastAPI app with a fast path for direct routes."""

    secured: Callable[[ASGIApp], ASGIApp]

    def build_middleware_stack(self) -> ASGIApp:
        direct = [route for route in HOT_ROUTES if isinstance(route, DirectRoute)]
        return FastPath(super().build_middleware_stack(), direct, self.secured, _answer_refusal)


async def _show_docs(request: Request) -> Response:
    """Show the API's reference."""
    rows = list_operations(request.app.openapi())
    groups = [(tag, list(operations)) for tag, operations in groupby(rows, key=lambda row: row.tag)]
    pages = context_of(request).pages
    return pages.render(request, "ui/api.html", {"groups": groups, "version": __version__})


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    tasks = [asyncio.create_task(context.live.run()), asyncio.create_task(context.db.watch())]
    if context.settings.worker == "in_process":
        tasks.append(asyncio.create_task(Worker(context.db, context.installation).run()))
    try:
        yield
    finally:
        context.live.close()
        with suppress(Exception):  # the last decisions may be lost without a database
            await app.state.resources[AdServer].flush()
        app.state.resources.close()
        context.uploads.close()
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


async def _answer_refusal(request: Request, error: Exception) -> Response:
    """Answer a refusal: in JSON for programs, with a page for customers and members."""
    refused = error if isinstance(error, Refused) else Refused(errors.BROKEN)
    request_id = request.state.request_id
    path = request.url.path
    request.state.is_refused = True  # so that no read is logged; the API answers with 200
    if path.startswith(API_PREFIX):
        return api_refusal(refused, request_id)
    is_for_customers = path.startswith(_CUSTOMERS)
    if _is_answered_in_json(request) and not (is_for_customers and is_navigation(request)):
        return refusal_answer(refused, request_id, translator_of(request) if is_for_customers else None)
    context: Context = request.app.state.context
    words = translator_of(request)
    if is_for_customers:  # visitors who came by a link see no references to members
        status = refused.code.http_status
        heading, next_step = (
            N_("This page does not exist."),
            N_(
                "The link may be incomplete or old. Open it again from where you got it, or "
                "write in your chat with the business."
            ),
        )
        if status == errors.TOO_MANY.http_status:
            heading, next_step = refused.code.says, N_("Wait a moment, then try again.")
        elif status >= errors.BROKEN.http_status:
            heading, next_step = refused.code.says, N_("Try again in a moment.")
        elif request.method != "GET":
            heading, next_step = refused.code.says, N_("Go back and try again.")
        texts = {"heading": words.gettext(heading), "next_step": words.gettext(next_step)}
        return context.pages.render(request, "ui/customer_error.html", texts, refused=refused)
    if refused.code is errors.SIGN_IN and request.method == "GET" and not request.headers.get("hx-request"):
        return RedirectResponse(f"/login?next={quote(path)}", 303)
    happened = split_fault(refused, words)[1]  # the name of a field is ours
    next_href, next_label = _NEXT_PAGES.get(refused.code, ("/", None))
    values = {
        "code": refused.code.http_status,
        "heading": words.gettext(refused.code.says),
        "happened": happened,
        "kept": words.gettext("No changes were made.") if request.method != "GET" else None,
        "next_step": words.gettext(refused.code.remedy),
        "next_href": next_href,
        "next_label": next_label and words.gettext(next_label),
        "reference": request.state.request_id,
    }
    response = context.pages.render(request, "ui/error.html", values, refused=refused)
    response.headers["X-Message"] = quote(happened)
    return response


def _is_answered_in_json(request: Request) -> bool:
    path = request.url.path
    is_linked_form = path.startswith("/form/") and request.method == "POST"
    return path.startswith(_JSON_PREFIXES) or is_linked_form or _CHAT_API.match(path) is not None


_NEXT_PAGES: Final = {
    errors.SIGN_IN: ("/login", N_("Log in")),
    errors.NO_AD_ACCOUNT: ("/settings/ad-accounts", N_("Ad accounts")),
}
"""Page and link text that help with a refusal."""


async def _answer_invalid(request: Request, error: Exception) -> Response:
    """Name the first wrong field and the reason, without repeating the input."""
    if (refusal := await _caller_refusal(request)) is not None:
        return await _answer_refusal(request, refusal)
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    if problems and problems[0]["type"] == "json_invalid":
        return await _answer_refusal(request, Refused(errors.UNREADABLE))
    field = ".".join(str(part) for part in problems[0]["loc"][1:]) if problems else ""
    if request.url.path.startswith(API_PREFIX) or _is_answered_in_json(request):
        says = problems[0]["msg"].removeprefix("Value error, ") if problems else errors.INVALID.says
        return await _answer_refusal(request, Refused(errors.INVALID, f"{field or 'body'}: {says}."))
    refused = Refused(errors.INVALID, "%(field)s: this value is missing or not allowed.", field=field)
    return await _answer_refusal(request, refused if field else Refused(errors.INVALID))


async def _caller_refusal(request: Request) -> Refused | None:
    """Return the refusal of a program's token, which takes precedence over that of its body.

    The framework parses a body before it asks for the caller.
    """
    route = getattr(request.scope.get("route"), "path", "")
    access = ACCESS.get(f"{request.method} {route}")
    if access is None or access.credential is not Credential.PROGRAM:
        return None
    try:
        await api_caller(request)
    except Refused as refused:
        return refused
    return None


async def _answer_http(request: Request, error: Exception) -> Response:
    if (refusal := await _caller_refusal(request)) is not None:
        return await _answer_refusal(request, refusal)
    if isinstance(error.__cause__, Refused):  # raised while the framework read the body
        return await _answer_refusal(request, error.__cause__)
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: errors.NO_ROUTE, 405: errors.NO_ROUTE}.get(status, errors.INVALID)
    return await _answer_refusal(request, Refused(code))


async def _answer_broken(request: Request, error: Exception) -> Response:
    """Log an error of ours; name a missing or damaged file of old views, which the database lacks."""
    if isinstance(error, BrokenFile):
        logger().error("http.broken_file", says=str(error))
        says = (
            N_("The archive file %(name)s is missing.")
            if error.is_gone
            else N_("The archive file %(name)s is damaged.")
        )
        return await _answer_refusal(request, Refused(errors.FILE_BAD, says, name=error.file.name))
    logger().error("http.broken", error_at=where(error))
    return await _answer_refusal(request, Refused(errors.BROKEN))
