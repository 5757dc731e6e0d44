"""The picture over the headline of a form: a member uploads it, and everybody who opens the form sees it."""

import re
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from contatto.accounts.auth import FormCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.forms.actions import records as actions
from contatto.forms.actions.pictures import keep_form_picture
from contatto.forms.rules.drafts import PICTURE_ID
from contatto.forms.store.pictures import find_form_picture
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.http import json_answer
from contatto.kit.uploads import picture_answer
from contatto.ui.context import context_of

router: Final = APIRouter()
_BUSINESS: Final = re.compile(r"[0-9a-f-]{36}")


@router.post("/forms/{form_id}/photos")
async def post_picture(request: Request, caller: FormCaller, form_id: str) -> Response:
    """Keep a picture for a form; the draft shows it once it is saved with it."""
    require(caller, Permission.WRITE_ADS)
    context = context_of(request)
    await context.db.read(lambda tx: actions.load_form(tx, caller.business_id, form_id))
    picture = await context.uploads.take_from_member(request, caller.subject_id)
    digest = await context.db.write(lambda tx: keep_form_picture(tx, caller.business_id, picture))
    return json_answer({"image": digest})


@router.get("/form-pictures/{business_id}/{digest}")
async def show_picture(request: Request, business_id: str, digest: str) -> Response:
    """A picture by the hash of its content, which nobody can guess; it never changes."""
    found = None
    if _BUSINESS.fullmatch(business_id) and PICTURE_ID.fullmatch(digest):
        found = await context_of(request).db.read(lambda tx: find_form_picture(tx, business_id, digest))
    if found is None:
        raise Refused(errors.NOT_FOUND, "Photo not found.")
    return picture_answer(*found, cache="public, max-age=31536000, immutable")
