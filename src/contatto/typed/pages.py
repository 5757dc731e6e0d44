"""Numbers as they are understood, told while somebody types, and the answers to forms, kept for a reload."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contatto.accounts.auth import LOOK_RECORD, PageCaller
from contatto.accounts.model import Member
from contatto.accounts.store import find_session_member
from contatto.kit.db.row_security import act_for
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.i18n import Translator, translator_of
from contatto.kit.ids import hash_secret, new_secret
from contatto.kit.typed_numbers import LONGEST, read_amount, read_decimal, read_whole
from contatto.typed.actions import find_kept_page, forget_kept_page, keep_page, note_showing
from contatto.typed.model import KeptPage
from contatto.ui.context import context_of
from contatto.ui.navigation import SHOWN_ONCE, is_navigation
from contatto.ui.sessions import session_token

router: Final = APIRouter(include_in_schema=False)
_PLACES: Final = 2


class NumberField(BaseModel):
    """A field with a number in it; without a currency an amount is of any one, with two decimals at most."""

    text: Annotated[str, Field(max_length=LONGEST * 2)] = ""
    kind: Literal["whole", "amount"] = "whole"
    currency: Annotated[str, Field(pattern=r"^([A-Z]{3})?$")] = ""


@router.get("/typed/number")
async def show_number(
    request: Request, caller: PageCaller, field: Annotated[NumberField, Query()]
) -> JSONResponse:
    """What a typed number means, in the member's language, or why it can mean nothing."""
    words = translator_of(request)
    try:
        says = _understood(field, words)
    except Refused as refused:
        return JSONResponse({"says": split_fault(refused, words)[1], "is_number": False})
    return JSONResponse({"says": says, "is_number": True})


def _understood(field: NumberField, words: Translator) -> str:
    value: Any = None
    if field.kind == "whole":
        value = read_whole("number", field.text, words.lang)
    elif field.currency:
        micros = read_amount("number", field.text, field.currency, words.lang)
        return "" if micros is None else words.money(micros, field.currency)
    else:
        value = read_decimal("number", field.text, words.lang, _PLACES)
    return "" if value is None else words.number(value)


KEPT: Final = "kept"
"""In an address: the answer to a form that was refused."""
SHOWN: Final = "shown"
"""In an address: the answer to a form that was taken and has something to show."""
LARGEST: Final = 2 * 1024 * 1024
"""Bytes of a page that is kept."""
_REFUSALS: Final = frozenset({404, 409, 410, 413, 415, 422, 429})
type _Answer = tuple[int, list[tuple[bytes, bytes]], bytes]


class KeptAnswers:
    """Gives the page that a form's POST answers an address of its own, so that reload and Back show it again.

    The browser is sent on to where the form stands, with a token in the query. What is shown there is kept
    for the session alone that was answered; when it is gone, the address is that of the form.

    Args:
        app: what is wrapped.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_navigation(Request(scope)):
            await self.app(scope, receive, send)
        elif scope["method"] == "POST":
            await self._answer(scope, receive, send)
        elif scope["method"] != "GET" or not await _show(scope, receive, send):
            await self.app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        start: Message | None = None
        body = bytearray()

        async def send_on(message: Message) -> None:
            nonlocal start
            if message["type"] == "http.response.start" and _is_page(scope, message):
                start = message
            elif start is None:
                if message["type"] == "http.response.start" and message["status"] == 303:
                    await _forget(scope)
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    answer = (start["status"], list(start["headers"]), bytes(body))
                    await (await _keep(scope, answer))(scope, receive, send)

        await self.app(scope, receive, send_on)


def _is_page(scope: Scope, message: Message) -> bool:
    """Whether an answer begins that is a page for a signed-in member."""
    status, kinds = message["status"], dict(message["headers"]).get(b"content-type", b"")
    return "caller" in scope["state"] and status in {200, *_REFUSALS} and kinds.startswith(b"text/html")


async def _keep(scope: Scope, answer: _Answer) -> Response:
    """Keep a page and send its reader to it; one that is too large is answered as it is."""
    status, headers, body = answer
    if len(body) > LARGEST:
        return Response(body, status, dict(_texts(headers)))
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
    word = SHOWN if status == 200 else KEPT
    response = RedirectResponse(_address(request, {word: token}), 303)
    for name, value in _texts(headers):
        if name == "set-cookie":
            response.headers.append(name, value)
    return response


async def _forget(scope: Scope) -> None:
    """Forget the refusal of a form that was sent again and taken."""
    request, caller = Request(scope), scope["state"].get("caller")
    token = dict(parse_qsl(_came_from(request).query)).get(KEPT, "")
    if caller and token:
        await context_of(request).db.write_more(lambda tx: forget_kept_page(tx, caller.business_id, token))


async def _show(scope: Scope, receive: Receive, send: Send) -> bool:
    """Answer with a kept page, if the address asks for one that is there."""
    request = Request(scope)
    asked = request.query_params.get(KEPT) or request.query_params.get(SHOWN) or ""
    session = session_token(request)
    if not asked or not session:
        return False
    context, session_hash = context_of(request), hash_secret(session)

    def find(tx: Tx) -> tuple[Member, KeptPage] | None:
        whose = find_session_member(tx, session_hash)
        page = find_kept_page(tx, whose, session_hash, asked) if whose else None
        return (whose[0], page) if whose and page else None

    found = await context.db.read(find)
    if found is None:
        return False
    member, page = found
    if page.look or page.is_once:
        act_for(page.business_id)
        name, request_id = member.display_name, scope["state"]["request_id"]
        await context.db.write_more(lambda tx: note_showing(tx, page, name, request_id))
    await HTMLResponse(page.page, page.status)(scope, receive, send)
    return True


def _address(request: Request, added: Mapping[str, str]) -> str:
    """Where the form stands, as the browser says, with something added to the query."""
    came_from = _came_from(request)
    pairs = [
        pair for pair in parse_qsl(came_from.query, keep_blank_values=True) if pair[0] not in (KEPT, SHOWN)
    ]
    return f"{quote(came_from.path, safe='/%')}?{urlencode([*pairs, *added.items()])}"


def _came_from(request: Request) -> SplitResult:
    """The page of ours that the request came from; without one, the address of the request itself."""
    found = urlsplit(request.headers.get("referer", ""))
    is_ours = found.netloc == request.headers.get("host") and found.path.startswith("/")
    return found if is_ours and not found.path.startswith("//") else urlsplit(request.url.path)


def _texts(headers: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
    return ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
