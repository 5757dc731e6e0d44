"""Feedback on typed numbers, and middleware that saves form answers for a reload."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from fastapi import Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.accounts.auth import LOOK_RECORD, PageCaller, page_routes
from contatto.accounts.model import Access, Credential, Member
from contatto.accounts.store import find_session_member
from contatto.kit.db.database import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import LONGEST, read_amount, read_decimal, read_whole, split_fault
from contatto.kit.i18n import translator_of
from contatto.kit.ids import hash_secret, new_secret
from contatto.typed.actions import find_kept_page, forget_kept_page, keep_page, note_showing
from contatto.typed.store import KeptPage
from contatto.ui.context import context_of
from contatto.ui.render import SHOWN_ONCE, is_navigation
from contatto.ui.sessions import session_token

router: Final = page_routes()
_DECIMALS: Final = 2


class NumberField(BaseModel):
    """Number field; an amount without a currency may have two decimals."""

    text: Annotated[str, Field(max_length=LONGEST * 2)] = ""
    kind: Literal["whole", "amount"] = "whole"
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""


@router.get("/typed/number", Access(Credential.MEMBER))
async def show_number(
    request: Request, caller: PageCaller, field: Annotated[NumberField, Query()]
) -> JSONResponse:
    """Return how a typed number is understood, in the member's language, or its error."""
    words = translator_of(request)
    value: Any
    try:
        if field.kind == "whole":
            value = read_whole("number", field.text, words.lang)
        elif field.currency:
            value = read_amount("number", field.text, field.currency, words.lang)
        else:
            value = read_decimal("number", field.text, words.lang, _DECIMALS)
    except Refused as refused:
        return JSONResponse({"says": split_fault(refused, words)[1], "is_number": False})
    if value is None:
        return JSONResponse({"says": "", "is_number": True})
    is_money = field.kind == "amount" and field.currency
    says = words.money(value, field.currency) if is_money else words.number(value)
    return JSONResponse({"says": says, "is_number": True})


REFUSED_PARAM: Final = "kept"
"""Query parameter of the page that refused a form."""
RESULT_PARAM: Final = "shown"
"""Query parameter of the page with the result of an accepted form."""
LARGEST: Final = 2 * 1024 * 1024
"""Bytes of a page that is saved."""
_REFUSALS: Final = frozenset({404, 409, 410, 413, 415, 422, 429})
type _Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class KeptAnswers:
    """Middleware that gives the answer of a form its own address, so that reload and Back show it again.

    It redirects the browser to the page of the form, with a token in the query. The saved page is for
    this session only; after it expires, the address shows the form.

    Args:
        app: wrapped application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

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
                        await _delete_refusal(scope)
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
    if len(body) > LARGEST:
        return Response(body, status, dict(_decode_headers(headers)))
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
    await context.db.write_more(lambda tx: keep_page(tx, page))
    parameter = RESULT_PARAM if status == 200 else REFUSED_PARAM
    form_url = _referring_page(request)
    pairs = [
        pair
        for pair in parse_qsl(form_url.query, keep_blank_values=True)
        if pair[0] not in (REFUSED_PARAM, RESULT_PARAM)
    ]
    address = f"{quote(form_url.path, safe='/%')}?{urlencode([*pairs, (parameter, token)])}"
    response = RedirectResponse(address, 303)
    for name, value in _decode_headers(headers):
        if name == "set-cookie":
            response.headers.append(name, value)
    return response


async def _delete_refusal(scope: Scope) -> None:
    """Delete the refusal of a form that has been accepted now."""
    request, caller = Request(scope), scope["state"].get("caller")
    token = dict(parse_qsl(_referring_page(request).query)).get(REFUSED_PARAM, "")
    if caller and token:
        await context_of(request).db.write_more(lambda tx: forget_kept_page(tx, caller.business_id, token))


async def _show_saved(scope: Scope, receive: Receive, send: Send) -> bool:
    """Respond with the saved page of the address, if it exists; return whether it did."""
    request = Request(scope)
    page_token = request.query_params.get(REFUSED_PARAM) or request.query_params.get(RESULT_PARAM) or ""
    session = session_token(request)
    if not page_token or not session:
        return False
    context, session_hash = context_of(request), hash_secret(session)

    def find(tx: Tx) -> tuple[Member, KeptPage] | None:
        owner = find_session_member(tx, session_hash)
        page = find_kept_page(tx, owner, session_hash, page_token) if owner else None
        return (owner[0], page) if owner and page else None

    match = await context.db.read(find)
    if match is None:
        return False
    member, page = match
    if page.look or page.is_once:
        act_for(page.business_id)
        name, request_id = member.display_name, scope["state"]["request_id"]
        await context.db.write_more(lambda tx: note_showing(tx, page, name, request_id))
    await HTMLResponse(page.page, page.status)(scope, receive, send)
    return True


def _referring_page(request: Request) -> SplitResult:
    """Return the referring page of this site, else the address of the request itself."""
    referrer = urlsplit(request.headers.get("referer", ""))
    is_same_site = referrer.netloc == request.headers.get("host") and referrer.path.startswith("/")
    return referrer if is_same_site and not referrer.path.startswith("//") else urlsplit(request.url.path)


def _decode_headers(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
