"""Access rules of routes, callers of requests, their audit entries and kept answers."""

import re
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, is_dataclass, replace
from datetime import timedelta
from functools import lru_cache, partial
from inspect import Parameter, Signature, signature
from types import GenericAlias
from typing import Annotated, Any, Final, get_type_hints
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from fastapi import Depends
from fastapi.routing import APIRoute
from msgspec import structs
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Match, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.accounts import rules, store
from contatto.accounts.model import (
    Access,
    AdAccount,
    Business,
    Caller,
    Credential,
    KeptPage,
    Member,
    Permission,
    ReadAudit,
)
from contatto.accounts.rules import ROLE_PERMISSIONS
from contatto.audit import API_PREFIX, AuditRecord, FoldedReads, act_of, append_records, objects_of, seen_text
from contatto.kit import errors
from contatto.kit.api_types import Answer, Answered, api_answer, describe_query, read_query, request_id_of
from contatto.kit.concurrency import take_slot
from contatto.kit.db.database import Database, RequestDatabase, act_for
from contatto.kit.db.statements import WorkBatcher
from contatto.kit.db.tx import ContactReads, Tx, rows_of
from contatto.kit.errors import ErrorCode, Refused
from contatto.kit.ids import hash_secret, new_secret
from contatto.kit.outbox import last_seq
from contatto.kit.rate_limits import RequestLimit
from contatto.ui.render import BEFORE_RENDERING, SHOWN_ONCE, check_csrf, is_navigation, session_token
from contatto.ui.requests import context_of, part_of

API_HEADER: Final = "access-token"
_LOOK: Final = "look"
LOOK_RECORD: Final = "look_record"
"""Key in a request's state: the audit record of the contact data that its answer shows."""
_NOTE_USE_EVERY: Final = timedelta(minutes=5)


type Rule = Permission | Access
"""Permission of a caller with the routes' usual credential, or another rule."""


class DeclaredRoute(APIRoute):
    """Route with its access rule, and its read audit if it shows contact values."""

    def __init__(
        self, path: str, endpoint: Callable[..., Any], access: Access, audit: ReadAudit | None, **options: Any
    ) -> None:
        super().__init__(path, endpoint, response_model=None, **options)
        self.access, self.audit = access, audit


@dataclass(frozen=True, slots=True)
class TemplatePage:
    """Page of a template, with the function that reads its values.

    ``load`` takes the transaction, the request and the caller, then parameters of path and query. Its
    keyword-only parameters are those of a form that shows the page again, and its ``refused``.
    """

    template: str
    load: Callable[..., Mapping[str, Any]]
    is_long: bool = False

    async def show(
        self,
        request: Request,
        caller: Caller,
        refused: Refused | None = None,
        at: str = "",
        status: int = 200,
        **sent: Any,
    ) -> HTMLResponse:
        """Render the page, after a refusal with the error ``at`` its form; ignore other parameters."""
        parameters, context = signature(self.load).parameters, context_of(request)
        sent |= {"refused": refused}
        accepted = {name: value for name, value in sent.items() if name in parameters}
        load = partial(self.load, request=request, caller=caller, **accepted)
        read = context.db.read_long if self.is_long else context.db.read
        values = {**await read(load), "caller": caller, "at": at}
        return context.pages.render(request, self.template, values, status, refused)


@dataclass(frozen=True, slots=True)
class Routes:
    """Routes of pages or of the API; none can be declared without a rule."""

    credential: Credential
    prefix: str = ""
    tag: str = ""
    """Section in the API's document; routes without one are not in it."""
    routes: list[DeclaredRoute] = field(default_factory=list)

    def get[E: Callable[..., Any]](
        self, path: str, rule: Rule, audit: ReadAudit | None = None, **options: Any
    ) -> Callable[[E], E]:
        return lambda endpoint: self.add("GET", path, endpoint, rule, audit, **options)

    def post[E: Callable[..., Any]](
        self, path: str, rule: Rule, audit: ReadAudit | None = None, **options: Any
    ) -> Callable[[E], E]:
        return lambda endpoint: self.add("POST", path, endpoint, rule, audit, **options)

    def add[E: Callable[..., Any]](
        self, method: str, path: str, endpoint: E, rule: Rule, audit: ReadAudit | None = None, **options: Any
    ) -> E:
        access = Access(self.credential, rule) if isinstance(rule, Permission) else rule
        options |= {"methods": [method], "tags": [self.tag], "include_in_schema": bool(self.tag)}
        self.routes.append(DeclaredRoute(self.prefix + path, endpoint, access, audit, **options))
        return endpoint

    def page(
        self, path: str, rule: Rule, template: str, audit: ReadAudit | None = None, *, is_long: bool = False
    ) -> Callable[[Callable[..., Mapping[str, Any]]], TemplatePage]:
        """Declare a page by the function that reads its values; a long read runs in a thread."""

        def declare(load: Callable[..., Mapping[str, Any]]) -> TemplatePage:
            page = TemplatePage(template, load, is_long)
            self.add("GET", path, _signed(partial(page.show), load, PageCaller), rule, audit)
            return page

        return declare

    def form[W: Callable[..., str | Mapping[str, Any]]](
        self, path: str, rule: Rule, page: TemplatePage | None = None, *codes: ErrorCode, at: str = ""
    ) -> Callable[[W], W]:
        """Declare a form by a function that changes data in a transaction.

        The function takes the transaction, the request and the caller, then further parameters. It returns
        the address to show, or values that the page shows once. After a refusal with one of these codes the
        page shows the error ``at`` this form.
        """

        def declare(work: W) -> W:
            async def post(request: Request, caller: FormCaller, **sent: Any) -> Response:
                try:
                    shown = await context_of(request).db.write(lambda tx: work(tx, request, caller, **sent))
                except Refused as refused:
                    if page is None:
                        raise
                    return await page.show(request, caller, refused.expect(*codes), at, **sent)
                if page is None or isinstance(shown, str):
                    return RedirectResponse(str(shown), 303)
                setattr(request.state, SHOWN_ONCE, True)
                return await page.show(request, caller, **{**sent, **shown})

            self.add("POST", path, _signed(post, work, FormCaller), rule)
            return work

        return declare

    def transact[W: Callable[..., Answer]](
        self, path: str, rule: Rule, audit: ReadAudit | None = None, *, is_long: bool = False
    ) -> Callable[[W], W]:
        """Declare an endpoint of the API by a function that runs in a transaction and returns the answer.

        The function takes the transaction and the caller. With a ``body`` it writes (POST), else it reads
        (GET) and may take a ``query``. It may take the ``request``. A long read runs in a thread.
        """

        def declare(work: W) -> W:
            hints = get_type_hints(work)

            async def write(request: Request, caller: ApiCaller, body: Any) -> Response:
                sent = {"request": request} if "request" in hints else {}
                data = await context_of(request).db.write(lambda tx: work(tx, caller, body=body, **sent))
                return api_answer(data, request_id_of(request))

            async def read(request: Request, caller: ApiCaller) -> Response:
                db, sent = context_of(request).db, dict[str, Any]()
                if "request" in hints:
                    sent["request"] = request
                if "query" in hints:
                    sent["query"] = read_query(request, hints["query"])
                data = await (db.read_long if is_long else db.read)(lambda tx: work(tx, caller, **sent))
                return api_answer(data, request_id_of(request))

            endpoint: Callable[..., Any] = write if "body" in hints else read
            endpoint.__name__, endpoint.__doc__ = work.__name__, work.__doc__
            endpoint.__annotations__["return"] = GenericAlias(Answered, (hints["return"],))
            if "body" in hints:
                endpoint.__annotations__["body"] = hints["body"]
                self.add("POST", path, endpoint, rule, audit)
            else:
                extra = describe_query(hints["query"]) if "query" in hints else None
                self.add("GET", path, endpoint, rule, audit, openapi_extra=extra)
            return work

        return declare


def _signed(endpoint: Any, work: Callable[..., Any], caller: Any) -> Callable[..., Any]:
    """Return an endpoint with name, text and parameters of a function in a transaction."""
    _, request, named_caller, *parameters = signature(work).parameters.values()
    sent = [parameter for parameter in parameters if parameter.kind is not Parameter.KEYWORD_ONLY]
    endpoint.__signature__ = Signature([request, named_caller.replace(annotation=caller), *sent])
    endpoint.__name__, endpoint.__doc__ = work.__name__, work.__doc__
    signed_endpoint: Callable[..., Any] = endpoint
    return signed_endpoint


def page_routes(prefix: str = "") -> Routes:
    return Routes(Credential.MEMBER, prefix)


def api_routes(tag: str, prefix: str = "") -> Routes:
    return Routes(Credential.PROGRAM, f"{API_PREFIX}{prefix}", tag)


class HotRoute(Route):
    """Plain route without a session. It adds itself to the scope, as the framework's routes do.

    Audit log and request log read it there.
    """

    def __init__(self, method: str, path: str, endpoint: Callable[..., Any], access: Access) -> None:
        super().__init__(path, endpoint, methods=[method])
        self.access = access

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self}


class DirectRoute(HotRoute):
    """Hot route that skips the layers for members. It shows them no contact values."""


def member_caller(member: Member, business: Business) -> Caller:
    return Caller(
        business_id=member.business_id,
        business_name=business.name,
        subject_id=member.id,
        display_name=member.display_name,
        email=member.email,
        role=member.role,
        permissions=ROLE_PERMISSIONS[member.role],
        language=member.language,
        timezone=member.timezone,
        user_id=member.user_id,
        memberships=member.memberships,
        is_operator=business.is_operator,
    )


async def page_caller(request: Request) -> Caller:
    """Return the signed-in member. The request notes the last event, so that a page misses none after it.

    Raises SIGN_IN.
    """
    token = session_token(request)
    if not token:
        raise Refused(errors.SIGN_IN)
    session_owner, request.state.last_event = await context_of(request).db.read(
        lambda tx: (store.find_session_member(tx, hash_secret(token)), last_seq(tx))
    )
    if session_owner is None:
        raise Refused(errors.SIGN_IN)
    limit, used = context_of(request).clock.now() - _NOTE_USE_EVERY, session_owner[0].session_used_at
    if used is not None and used < limit:
        await context_of(request).db.write(
            lambda tx: store.mark_used(tx, store.sessions, hash_secret(token), limit)
        )
    act_for(session_owner[1].id)
    request.state.language = session_owner[0].language
    return await note_caller(request, member_caller(*session_owner))


async def form_caller(request: Request) -> Caller:
    """Return the signed-in member, checked for forgery. Raises SIGN_IN, FORGED."""
    caller = await page_caller(request)
    await check_csrf(request, context_of(request).pages.csrf_signer)
    return caller


async def api_caller(request: Request) -> Caller:
    """Return the owner of the ``Access-Token``. Raises SIGN_IN without one, BAD_TOKEN, TOO_MANY."""
    token = request.headers.get(API_HEADER, "")
    if not token:
        raise Refused(errors.SIGN_IN, "The header Access-Token is missing.")
    return await find_token_caller(request, token)


async def find_token_caller(request: Request, token: str) -> Caller:
    """Return the owner of a token. Raises BAD_TOKEN for an unknown or revoked one, TOO_MANY."""
    context = context_of(request)
    match = await context.db.read(lambda tx: store.find_token(tx, hash_secret(token)))
    if match is None:
        raise Refused(errors.BAD_TOKEN)
    api_token, business = match
    part_of(request, RequestLimit).check(api_token.id, time.monotonic())
    used, limit = api_token.last_used_at, context.clock.now() - _NOTE_USE_EVERY
    if used is None or used < limit:
        await context.db.write(lambda tx: store.mark_used(tx, store.api_tokens, hash_secret(token), limit))
    act_for(business.id)
    caller = Caller(
        business_id=api_token.business_id,
        business_name=business.name,
        subject_id=api_token.id,
        display_name=api_token.name,
        email="",
        role=None,
        permissions=frozenset(Permission(scope) for scope in api_token.scopes),
        ad_account_ids=None if api_token.ad_account_ids is None else frozenset(api_token.ad_account_ids),
    )
    return await note_caller(request, caller)


async def note_caller(request: Request, caller: Caller) -> Caller:
    """Set the caller of a request, and wait for its turn.

    The audit entry of a POST follows its first write from here on.

    Raises FORBIDDEN or NO_SCOPE, when the route needs a permission that the caller lacks.
    """
    table: Mapping[str, Access] = request.app.state.access
    route = getattr(request.scope.get("route"), "path", "")
    access = table.get(f"{request.method} {route}")
    if access is None or access.credential not in (Credential.MEMBER, Credential.PROGRAM, Credential.APP):
        raise Refused(errors.FORBIDDEN)
    if access.permission is not None:
        require(caller, access.permission)
    request.state.caller, request.state.seen = caller, ContactReads()
    is_change, fields = request.method == "POST", dict[str, Any]()
    if is_change:  # fields of the path, address and JSON body; those of a form are left unread
        fields = {**request.query_params, **request.path_params}
        if request.headers.get("content-type", "").startswith("application/json"):
            try:
                body = await request.json()
            except (ValueError, RuntimeError, RecursionError):  # the next reader of the body refuses it
                body = None
            fields |= body if isinstance(body, dict) else {}
    request.state.named = fields

    def follow(tx: Tx, result: Any) -> None:
        number = getattr(result, "number", None) if is_dataclass(result) else None
        created = f"{type(result).__name__}={number}" if isinstance(number, int) else ""
        if isinstance(result, Answer | dict):
            result_fields = result if isinstance(result, dict) else structs.asdict(result)
            created = objects_of(result_fields)
        named = " ".join(dict.fromkeys(f"{objects_of(fields)} {created}".split()))
        append_records(tx, [_record_of(caller, request.scope, named)])
        request.state.is_written = True

    context = request.app.state.context
    db = RequestDatabase(context.db, request.state.seen, follow if is_change else None)
    request.scope["state"]["context"] = replace(context, db=db)
    await take_slot(caller.business_id)
    return caller


def may(caller: Caller, permission: Permission) -> bool:
    return permission in caller.permissions


def require(caller: Caller, permission: Permission) -> None:
    """Refuse a caller without the permission: FORBIDDEN for a member, NO_SCOPE for an access token."""
    if permission not in caller.permissions and caller.role is None:
        raise Refused(errors.NO_SCOPE, "The token lacks the scope %(scope)s.", scope=permission.value)
    if permission not in caller.permissions:
        raise Refused(
            errors.FORBIDDEN, "Your role lacks the permission %(permission)s.", permission=permission.value
        )


def may_use(caller: Caller, ad_account_id: str) -> bool:
    """Report whether a caller may work with an ad account of their business."""
    return caller.ad_account_ids is None or ad_account_id in caller.ad_account_ids


def require_all_accounts(caller: Caller) -> None:
    """Refuse a token that is limited to some ad accounts. Raises NO_SCOPE."""
    if caller.ad_account_ids is not None:
        raise Refused(
            errors.NO_SCOPE, "This applies to the whole business, but the token covers only some ad accounts."
        )


def load_advertiser(tx: Tx, caller: Caller, number: int) -> AdAccount:
    """Load an ad account that the caller may use, by its ``advertiser_id``. Raises NO_ADVERTISER."""
    account = store.find_ad_account(tx, caller.business_id, number=number)
    if account is None or not may_use(caller, account.id):
        raise Refused(errors.NO_ADVERTISER)
    return account


def contact_reads_of(request: Request) -> ContactReads:
    reads: ContactReads = request.state.seen
    return reads


def _record_of(caller: Caller, scope: Scope, objects: str) -> AuditRecord:
    request_id = scope["state"]["request_id"]
    actor = (caller.business_id, caller.subject_id, caller.display_name)
    return AuditRecord(*actor, _act(scope), objects, request_id)


class LinkRules:
    """Permissions that links and forms of pages need, by the access rules of all routes."""

    def __init__(self, access: Mapping[str, Access]) -> None:
        self._needed = lru_cache(maxsize=4_096)(self._find_permission)
        self._patterns: dict[str, list[tuple[re.Pattern[str], Access]]] = {}
        for key in sorted(access, key=lambda key: key.count("{")):  # fixed paths before those with an id
            method, _, path = key.partition(" ")
            pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", path))
            self._patterns.setdefault(method, []).append((pattern, access[key]))

    def may_open(self, permissions: Collection[str], href: str, method: str = "GET") -> bool:
        """Return whether a member with these permissions may follow a link of ours, or send a form.

        Templates ask this before they offer either. An unknown or foreign address is always offered.
        """
        needed = self._needed(method, href.partition("?")[0].partition("#")[0])
        return needed is None or needed in permissions

    def _find_permission(self, method: str, path: str) -> Permission | None:
        patterns = self._patterns.get(method, ())
        match = next((access for pattern, access in patterns if pattern.fullmatch(path)), None)
        return match.permission if match is not None and match.credential is Credential.MEMBER else None


def record_act(tx: Tx, request: Request, member: Member, act: str, objects: str = "", seen: str = "") -> None:
    """Append an act of a member outside a route's own entry, such as a log-in, to the audit log."""
    actor = (member.business_id, member.id, member.display_name)
    append_records(tx, [AuditRecord(*actor, act, objects, request.state.request_id, seen)])


def _act(scope: Scope) -> str:
    return act_of(scope["method"], getattr(scope.get("route"), "path", ""))


class AuditLayer:
    """Middleware that logs reads of contact data before the first byte of an answer.

    A change has its own entry in the log, so the contact data in its answer needs none, unless it is a file.
    ``shows`` has the routes that show contact data, and how reads through each are logged.
    """

    def __init__(self, app: ASGIApp, shows: Mapping[str, ReadAudit], db: Database) -> None:
        self.app = app
        self.shows = shows
        self.late = FoldedReads()
        self.writer = WorkBatcher(db.write, append_records, begins_at_once=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_noted(message: Message) -> None:
            if message["type"] == "http.response.start" and not 300 <= message["status"] < 400:
                self._begin(scope)
                state = scope["state"]
                if _LOOK in state:  # wait until it is in the log
                    written, fresh = state[_LOOK]
                    await written
                    written_at = context_of(Request(scope)).clock.now()
                    self.late.keep(state["caller"].subject_id, _act(scope), fresh, written_at)
            await send(message)

        if scope["type"] == "http":
            scope.setdefault("state", {})[BEFORE_RENDERING] = partial(self._begin, scope)
        await self.app(scope, receive, send_noted if scope["type"] == "http" else send)

    def _begin(self, scope: Scope) -> None:
        """Begin to log a read of contact data, if this is one; the page is rendered meanwhile."""
        state: dict[str, Any] = scope["state"]
        look = self.shows.get(f"{scope['method']} {getattr(scope.get('route'), 'path', '')}")
        if "caller" not in state or state.get("is_refused") or _LOOK in state:
            return
        seen: ContactReads = state["seen"]
        if (look is None and state.get("is_written")) or (look is not ReadAudit.EACH and not seen):
            return
        request, caller = Request(scope), state["caller"]
        context, act, fresh = context_of(request), _act(scope), seen.ids
        if look is not ReadAudit.EACH:
            fresh = self.late.fresh(caller.subject_id, act, fresh, context.clock.now())
            if not fresh:
                return
        objects = objects_of({**request.query_params, **request.path_params, **state.get("named", {})})
        audit_record = _record_of(caller, scope, objects)
        # The record lists the ids that a read showed, without its own object.
        named = set(audit_record.object.split())
        counts = {kind: len(ids) for kind, ids in seen.ids.items()} | seen.counts
        new_ids = {kind: [id_ for id_ in ids if f"{kind}={id_}" not in named] for kind, ids in fresh.items()}
        shown = {kind: count for kind, count in counts.items() if new_ids.get(kind) or kind in seen.counts}
        audit_record = replace(audit_record, seen=seen_text(shown, new_ids))
        state[LOOK_RECORD] = audit_record
        state[_LOOK] = (self.writer.submit(audit_record), fresh)


REFUSED_PARAM: Final = "kept"
"""Query parameter of the page that refused a form."""
RESULT_PARAM: Final = "shown"
"""Query parameter of the page with the result of an accepted form."""
LARGEST: Final = 2 * 1024 * 1024
"""Bytes of a page that is saved."""
_REFUSALS: Final = frozenset({404, 409, 410, 413, 415, 422, 429})
type _Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """Middleware that gives the answer of a form its own address, so that reload and Back show it again.

    It redirects the browser to the page of the form, with a token in the query. The saved page is for
    this session only; after it expires, the address shows the form.
    """

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_navigation(Request(scope)):
            await self.app(scope, receive, send)
        elif scope["method"] == "POST":
            start: Message | None = None
            body = bytearray()

            async def send_on(message: Message) -> None:
                nonlocal start
                is_start = message["type"] == "http.response.start"
                kind = dict(message["headers"]).get(b"content-type", b"") if is_start else b""
                is_page = "caller" in scope["state"] and kind.startswith(b"text/html")
                if is_page and message["status"] in {200, *_REFUSALS}:
                    start = message
                elif start is None:
                    if message["type"] == "http.response.start" and message["status"] == 303:
                        request, caller = Request(scope), scope["state"].get("caller")
                        token = dict(parse_qsl(_referring_page(request).query)).get(REFUSED_PARAM, "")
                        if caller and token:
                            page_id = hash_secret(token)
                            await context_of(request).db.write_more(
                                lambda tx: tx.delete(store.kept_pages, caller.business_id, id=page_id)
                            )
                    await send(message)
                else:
                    body.extend(message.get("body", b""))
                    if not message.get("more_body"):
                        answer = (start["status"], list(start["headers"]), bytes(body))
                        await (await _save_page(scope, answer))(scope, receive, send)

            await self.app(scope, receive, send_on)
        elif scope["method"] != "GET" or not await _show_saved(scope, receive, send):
            await self.app(scope, receive, send)


async def _save_page(scope: Scope, answer: _Answer) -> Response:
    """Save a page and redirect to it; return a page that is too large as it is."""
    status, headers, body = answer
    decoded = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]
    if len(body) > LARGEST:
        return Response(body, status, dict(decoded))
    request, caller = Request(scope), scope["state"]["caller"]
    context, token = context_of(request), new_secret("kept")
    look = scope["state"].get(LOOK_RECORD)
    page = KeptPage(
        id=hash_secret(token),
        business_id=caller.business_id,
        member_id=caller.subject_id,
        session_hash=hash_secret(session_token(request)),
        role=str(caller.role),
        status=status,
        page=body.decode(),
        is_once=bool(scope["state"].get(SHOWN_ONCE)),
        look=(look.act, look.object, look.seen) if look else (),
        kept_at=context.clock.now(),
    )
    await context.db.write_more(lambda tx: store.save_kept_page(tx, page))
    parameter = RESULT_PARAM if status == 200 else REFUSED_PARAM
    form_url = _referring_page(request)
    pairs = [
        pair
        for pair in parse_qsl(form_url.query, keep_blank_values=True)
        if pair[0] not in (REFUSED_PARAM, RESULT_PARAM)
    ]
    address = f"{quote(form_url.path, safe='/%')}?{urlencode([*pairs, (parameter, token)])}"
    response = RedirectResponse(address, 303)
    for name, value in decoded:
        if name == "set-cookie":
            response.headers.append(name, value)
    return response


async def _show_saved(scope: Scope, receive: Receive, send: Send) -> bool:
    """Respond with the saved page of the address, if it exists; return whether it did."""
    request = Request(scope)
    page_token = request.query_params.get(REFUSED_PARAM) or request.query_params.get(RESULT_PARAM) or ""
    session = session_token(request)
    if not page_token or not session:
        return False
    context, session_hash = context_of(request), hash_secret(session)

    def find(tx: Tx) -> tuple[Member, KeptPage] | None:
        member, _ = store.find_session_member(tx, session_hash) or (None, None)
        if member is None:
            return None
        own = rows_of(store.kept_pages, member.business_id, id=hash_secret(page_token))
        page = tx.find(KeptPage, store.kept_pages.select().where(*own))
        if page is None or page.kept_at < tx.now - rules.KEEP_PAGES:
            return None
        owner = (member.id, session_hash, member.role)
        return (member, page) if (page.member_id, page.session_hash, page.role) == owner else None

    match = await context.db.read(find)
    if match is None:
        return False
    member, page = match

    def note_showing(tx: Tx) -> None:
        if page.look:
            record_act(tx, request, member, *page.look)
        if page.is_once:
            tx.delete(store.kept_pages, page.business_id, id=page.id)

    if page.look or page.is_once:
        act_for(page.business_id)
        await context.db.write_more(note_showing)
    await HTMLResponse(page.page, page.status)(scope, receive, send)
    return True


def _referring_page(request: Request) -> SplitResult:
    """Return the referring page of this site, else the address of the request itself."""
    referrer = urlsplit(request.headers.get("referer", ""))
    is_same_site = referrer.netloc == request.headers.get("host") and referrer.path.startswith("/")
    return referrer if is_same_site and not referrer.path.startswith("//") else urlsplit(request.url.path)


async def _send_nothing() -> None:
    """Fill a parameter that no request sends."""


Unsent: Final = Depends(_send_nothing)
"""Mark of a parameter that code alone fills: a refused form shows itself again by its page's function."""
PageCaller = Annotated[Caller, Depends(page_caller)]
FormCaller = Annotated[Caller, Depends(form_caller)]
ApiCaller = Annotated[Caller, Depends(api_caller)]
