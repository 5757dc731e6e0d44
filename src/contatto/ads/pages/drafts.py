"""Drafts of the forms: kept while somebody types, offered when the form is opened again, thrown away."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.ads.actions.drafts import Owner, check_place, drop_draft, find_draft, form_of, keep_draft
from contatto.ads.model import NodeKind, Place
from contatto.ads.rules.links import new_form_path
from contatto.ads.rules.typed import FORMS, read_form
from contatto.kit.api_types import number_of
from contatto.kit.db.tx import Tx
from contatto.ui.context import context_of

router: Final = APIRouter()


@dataclass(frozen=True, slots=True)
class Opened[F]:
    """A form as it is opened.

    Attributes:
        form: what stands in it.
        draft: what ``ads/_draft.html`` shows.
    """

    form: F
    draft: dict[str, Any]


def owner_of(caller: Caller) -> Owner:
    return caller.business_id, caller.subject_id


def open_form[F](tx: Tx, request: Request, caller: Caller, place: Place, blank: F) -> Opened[F]:
    """A form as it is opened: blank, with the offer of a draft if there is one; or the draft, if wanted."""
    found = find_draft(tx, owner_of(caller), place)
    if found is None:
        return Opened(blank, draft_view(place))
    goes_on = request.query_params.get("draft") == "continue"
    shown = draft_view(place, found.saved_at, state="open" if goes_on else "offered")
    return Opened(form_of(found) if goes_on else blank, shown)


def draft_view(place: Place, saved_at: datetime | None = None, state: str = "none") -> dict[str, Any]:
    """What the template needs of a draft; its ``state`` is none, offered or open."""
    kind, parent = place
    return {"path": f"/ads/drafts/{kind}/{parent}", "saved_at": saved_at, "state": state}


@router.put("/ads/drafts/{kind}/{parent}")
async def put_draft(request: Request, caller: FormCaller, kind: NodeKind, parent: str) -> JSONResponse:
    """Keep what stands in a form; often, and for its writer alone, so the audit log has nothing of it."""
    require(caller, Permission.WRITE_ADS)
    place = (kind, number_of(parent))
    form = read_form(FORMS[kind], (await request.form(max_files=0)).multi_items())
    draft = await context_of(request).db.write(lambda tx: keep_draft(tx, owner_of(caller), place, form))
    return JSONResponse({"saved_at": draft.saved_at.isoformat()})


@router.post("/ads/drafts/{kind}/{parent}/discard")
async def post_draft_away(
    request: Request,
    caller: FormCaller,
    kind: NodeKind,
    parent: str,
    back: Annotated[Literal["form", "list"], Form()] = "form",
) -> RedirectResponse:
    """Throw a draft away and show the blank form, or the list where it stood."""
    require(caller, Permission.WRITE_ADS)
    place = (kind, number_of(parent))

    def work(tx: Tx) -> None:
        check_place(tx, owner_of(caller), place)
        drop_draft(tx, owner_of(caller), place)

    await context_of(request).db.write(work)
    return RedirectResponse("/ads" if back == "list" else new_form_path(*place), 303)
