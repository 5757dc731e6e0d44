"""How the panes are rendered, for whoever asks for one or has just changed something."""

from typing import Any, Final

from fastapi import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.inbox.pages.desk import Pane, View, ViewQuery, inbox_values, pane_values, read_view
from contatto.kit import errors
from contatto.kit.db.remembered import RememberedCounts
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.ui.context import context_of, part_of

_PANES: Final = {"inbox/_thread.html": Pane.THREAD, "inbox/_contact.html": Pane.CONTACT}


async def after_post(request: Request, caller: Caller, conversation_id: str) -> Response:
    if request.headers.get("hx-request"):
        return await render_inbox(
            request, caller, "inbox/_thread.html", read_view(ViewQuery()), conversation_id, strict=True
        )
    return RedirectResponse(f"/inbox/{conversation_id}", 303)


async def render_inbox(
    request: Request, caller: Caller, template: str, view: View, selected: str | None, *, strict: bool = False
) -> HTMLResponse:
    """Render one of the inbox's templates; with ``strict`` an unknown conversation is refused."""
    require(caller, Permission.READ_INBOX)
    context = context_of(request)
    pane, recall = _PANES.get(template), part_of(request, RememberedCounts).begin()

    def load(tx: Tx) -> dict[str, Any]:
        if pane is not None:
            return pane_values(tx, caller, view, selected, pane)
        return inbox_values(tx, caller, view, selected, recall, whole=template != "inbox/_list.html")

    values = await context.db.read(load)
    if strict and values["selected"] is None:
        raise Refused(errors.NOT_FOUND, "Conversation not found.")
    return context.pages.render(request, template, values | {"caller": caller})


def is_uuid(text: str) -> bool:
    return len(text) == 36 and text.replace("-", "").isalnum()
