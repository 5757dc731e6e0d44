"""The settings page of a chat page's automatic messages."""

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import may, require
from contatto.channels.model import Platform
from contatto.channels.store import find_account
from contatto.inbox import rules
from contatto.inbox.actions.automatic import keep_automatic
from contatto.inbox.model import AutomaticMessages, KeywordReply, PreparedReply
from contatto.inbox.store.desk import find_automatic
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.i18n import translator_of
from contatto.kit.numbers import Revision
from contatto.ui.context import context_of

KEYWORD_ROWS: Final = 6
_SEPARATOR: Final = re.compile(r"[,\n]")


@router.get("/settings/chat/{account_id}")
async def show_automatic(request: Request, caller: PageCaller, account_id: str) -> HTMLResponse:
    return await _render_automatic(request, caller, account_id)


@router.get("/settings/chat/{account_id}/first")
async def show_first(request: Request, caller: PageCaller, account_id: str) -> HTMLResponse:
    """Return the first message of a chat without an ad's own one, for the preview of an ad."""
    require(caller, Permission.READ_ADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        account = find_account(tx, caller.business_id, account_id)
        if account is None:
            raise Refused(errors.NOT_FOUND)
        saved = find_automatic(tx, caller.business_id, account_id)
        # what another platform says by itself is not known here, unless it was written here
        is_own = account.platform is Platform.WEBCHAT
        active = saved[0].active if saved else AutomaticMessages()
        return {"first": active if saved or is_own else None, "is_own": is_own}

    return context.pages.render(request, "inbox/_first.html", await context.db.read(load))


@router.post("/settings/chat/{account_id}")
async def post_automatic(
    request: Request, caller: FormCaller, account_id: str, revision: Annotated[Revision, Form()]
) -> Response:
    require(caller, Permission.ADMINISTER)
    content = _read_content(await request.form(max_files=0))
    try:
        await context_of(request).db.write(
            lambda tx: keep_automatic(tx, caller.business_id, account_id, content, revision)
        )
    except Refused as refused:
        if refused.code is errors.NOT_FOUND:
            raise
        return await _render_automatic(request, caller, account_id, refused, (content, revision))
    return RedirectResponse(f"/settings/chat/{account_id}", 303)


def _read_content(sent: FormData) -> AutomaticMessages:
    """Return the typed rows without empty ones."""

    def column(name: str) -> list[str]:
        return [str(value).strip() for value in sent.getlist(name)]

    def rows(first: str, second: str) -> list[tuple[str, str]]:
        return [pair for pair in zip(column(first), column(second), strict=False) if any(pair)]

    words = (
        (tuple(word.strip() for word in _SEPARATOR.split(typed) if word.strip()), reply)
        for typed, reply in rows("keywords", "reply")
    )
    return AutomaticMessages(
        welcome=str(sent.get("welcome", "")).strip(),
        questions=tuple(PreparedReply(*pair) for pair in rows("question", "answer")),
        prompts=tuple(PreparedReply(*pair) for pair in rows("title", "content")),
        keywords=tuple(KeywordReply(*pair) for pair in words),
    )


async def _render_automatic(
    request: Request,
    caller: Caller,
    account_id: str,
    refused: Refused | None = None,
    typed: tuple[AutomaticMessages, int] | None = None,
) -> HTMLResponse:
    """The page; after a refusal, with what was typed and what is wrong with it."""
    require(caller, Permission.READ_INBOX)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        account = find_account(tx, caller.business_id, account_id)
        if account is None or account.platform is not Platform.WEBCHAT:
            raise Refused(errors.NOT_FOUND, "Chat page not found.")
        saved = find_automatic(tx, caller.business_id, account_id) or (AutomaticMessages(), 0)
        content, revision = typed or saved
        return {
            "account": {"id": account.id, "display_name": account.name},
            "revision": revision,
            "welcome": content.welcome,
            "questions": _padded(
                [(question.ask, question.say) for question in content.questions], rules.MOST_QUESTIONS
            ),
            "prompts": _padded([(prompt.ask, prompt.say) for prompt in content.prompts], rules.MOST_PROMPTS),
            "keywords": _padded(
                [(", ".join(keyword.words), keyword.say) for keyword in content.keywords],
                max(KEYWORD_ROWS, len(content.keywords) + 1),
            ),
        }

    values = await context.db.read(load)
    values |= {
        "caller": caller,
        "can_manage": may(caller, Permission.ADMINISTER),
        "error": refused.detail_in(translator_of(request)) if refused else "",
        "limits": rules.AUTOMATIC_LIMITS,
    }
    status = refused.code.http_status if refused else 200
    return context.pages.render(request, "inbox/automatic.html", values, status)


def _padded(rows: list[tuple[str, str]], row_count: int) -> list[tuple[str, str]]:
    return rows + [("", "")] * (row_count - len(rows))
