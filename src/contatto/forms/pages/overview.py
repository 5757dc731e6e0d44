"""The list of forms, a new form, and which form the chats of an account show."""

from typing import Annotated, Any, Final

from fastapi import APIRouter, Form
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import may, require
from contatto.channels.model import Platform
from contatto.channels.store import list_accounts
from contatto.forms.actions import records as actions
from contatto.forms.model import Form as InstantForm
from contatto.forms.model import FormVersion
from contatto.forms.pages.views import show_form_row
from contatto.forms.store import records as store
from contatto.forms.store.defaults import list_default_forms
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.faults import split_fault
from contatto.kit.i18n import translator_of
from contatto.kit.languages import LANGUAGES
from contatto.ui.context import context_of

router: Final = APIRouter()
type Text = Annotated[str, Form()]


@router.get("/forms")
async def show_forms(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.READ_ADS)
    context = context_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        latest: dict[str, FormVersion] = {}
        for version in store.list_versions(tx, caller.business_id):
            latest.setdefault(version.form_id, version)
        counts = store.count_answers(tx, caller.business_id)
        defaults = list_default_forms(tx, caller.business_id)
        found = store.list_forms(tx, caller.business_id)
        return {
            "forms": [show_form_row(form, counts.get(form.id, {}), latest.get(form.id)) for form in found],
            "published": [(form.id, form.name) for form in found if form.version],
            "accounts": [
                {"id": account.id, "name": account.name, "form_id": defaults.get(account.id, "")}
                for account in list_accounts(tx, caller.business_id)
                if account.platform is Platform.WEBCHAT
            ],
        }

    values = await context.db.read(load)
    values |= {"caller": caller, "can_edit": may(caller, Permission.WRITE_ADS)}
    return context.pages.render(request, "forms/list.html", values)


@router.get("/forms/new")
async def show_new_form(request: Request, caller: PageCaller) -> HTMLResponse:
    require(caller, Permission.WRITE_ADS)
    return _render_new(request, caller, {"name": "", "language": "en"}, {})


def _render_new(
    request: Request, caller: PageCaller, typed: dict[str, str], wrong: dict[str, str]
) -> HTMLResponse:
    values = {"caller": caller, "form": typed, "errors": wrong, "form_languages": list(LANGUAGES.items())}
    return context_of(request).pages.render(request, "forms/new.html", values, 422 if wrong else 200)


@router.post("/forms")
async def post_form(request: Request, caller: FormCaller, name: Text = "", language: Text = "en") -> Response:
    """Make a form and go on to the builder."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> InstantForm:
        accounts = list_accounts(tx, caller.business_id)
        country = accounts[0].registration_country if accounts else ""
        return actions.create_form(tx, caller.business_id, name, language, country)

    try:
        form = await context_of(request).db.write(work)
    except Refused as refused:
        if refused.code is not errors.INVALID:
            raise
        field, says = split_fault(refused, translator_of(request))
        wrong = {field: says}
        return _render_new(request, caller, {"name": name, "language": language}, wrong)
    return RedirectResponse(f"/forms/{form.id}", 303)


@router.post("/forms/defaults/{account_id}")
async def post_default(
    request: Request, caller: FormCaller, account_id: str, form_id: Text = ""
) -> RedirectResponse:
    """Choose the form of an account's chats where no ad brings its own."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> None:
        actions.set_default_form(tx, caller.business_id, account_id, form_id or None)

    await context_of(request).db.write(work)
    return RedirectResponse("/forms", 303)
