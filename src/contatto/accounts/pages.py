"""Start redirect, settings, audit log, choice of a language, and feedback on typed numbers."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import JSONResponse, RedirectResponse

from contatto.accounts import actions, store
from contatto.accounts.auth import PageCaller, may, page_routes
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.accounts.rules import home_path, local_path
from contatto.audit import act_text, chain_holds, list_audit_entries, read_seen
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.form_fields import LONGEST, read_amount, read_decimal, read_whole, split_fault
from contatto.kit.languages import LANGUAGES
from contatto.ui.render import LANGUAGE_COOKIE, translator_of
from contatto.ui.requests import context_of

router = page_routes()
AUDIT_ROWS: Final = 50
_DECIMALS: Final = 2


@router.get("/", Access(Credential.MEMBER))
async def show_start(caller: PageCaller) -> RedirectResponse:
    return RedirectResponse(home_path(caller.permissions, is_operator=caller.is_operator), 303)


@router.get("/language", Access(Credential.ANYBODY))
async def show_in_language(request: Request, to: str = "", next: str = "") -> RedirectResponse:
    """Set the language that a visitor chose, and go back to their page. Raises INVALID."""
    if to not in LANGUAGES:
        raise Refused(errors.INVALID, "to: choose one of %(known)s.", known=", ".join(LANGUAGES))
    response = RedirectResponse(local_path(next) or "/", 303)
    context_of(request).pages.cookies.set(response, LANGUAGE_COOKIE, to)
    return response


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


class TokenForm(BaseModel):
    """Form of a new token: name, scopes, and ad accounts (none chosen means all)."""

    name: Annotated[str, Field(max_length=80)] = ""
    scopes: Annotated[list[Annotated[str, Field(max_length=40)]], Field(max_length=40)] = []
    ad_accounts: Annotated[list[Annotated[str, Field(max_length=36)]], Field(max_length=500)] = []


@router.page("/settings/audit", Permission.ADMINISTER, "accounts/audit.html")
def show_audit(
    tx: Tx, request: Request, caller: Caller, page: Annotated[int, Query(ge=1, le=100_000)] = 1
) -> dict[str, Any]:
    """Show the audit log, latest first, to owners and admins."""
    first = (page - 1) * AUDIT_ROWS
    entries = list_audit_entries(tx, caller.business_id, (first, AUDIT_ROWS + 1))
    return {
        "entries": entries[:AUDIT_ROWS],
        "holds": chain_holds(entries[::-1]),
        "page": page,
        "has_older": len(entries) > AUDIT_ROWS,
        "act_text": act_text,
        "seen_of": lambda entry: read_seen(entry.seen),
    }


@router.page("/settings", Access(Credential.MEMBER), "accounts/settings.html")
def show_settings(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    issued: Mapping[str, Mapping[str, str]] = {},
    refused: Refused | None = None,
    form: TokenForm | None = None,
) -> dict[str, Any]:
    members = store.list_members(tx, caller.business_id)
    tokens = store.list_tokens(tx, caller.business_id)
    accounts = store.list_ad_accounts(tx, caller.business_id)
    problems: dict[str, str] = {}
    if refused:
        says = refused.said.in_language(translator_of(request))
        field = says.partition(":")[0]
        problems[field if field in TokenForm.model_fields else "name"] = says
    return {
        "members": [member for member in members if member.deactivated_at is None],
        "ad_accounts": accounts,
        "ad_account_names": {account.id: account.name for account in accounts},
        "tokens": [token for token in tokens if token.revoked_at is None],
        "new_token": issued.get("token"),
        "new_code": issued.get("code"),
        "can_manage": may(caller, Permission.ADMINISTER),
        "errors": problems,
        "typed": form or TokenForm(),
        "scopes": [permission.value for permission in Permission],
    }


@router.form("/settings/tokens", Permission.ADMINISTER, show_settings, *errors.ALL)
def post_token(
    tx: Tx, request: Request, caller: Caller, form: Annotated[TokenForm, Form()]
) -> dict[str, Any]:
    """Make a token with the chosen permissions of the API and show it, this once."""
    new = (caller.business_id, form.name, form.scopes, caller.subject_id, form.ad_accounts or None)
    api_token, value = actions.issue_token(tx, *new)
    return {"form": None, "issued": {"token": {"name": api_token.name, "value": value}}}


@router.form("/settings/auth-codes", Permission.ADMINISTER, show_settings, *errors.ALL)
def post_auth_code(
    tx: Tx, request: Request, caller: Caller, form: Annotated[TokenForm, Form()]
) -> dict[str, Any]:
    """Make an auth code for a program that asks for its own token, and show it, this once."""
    new = (caller.business_id, form.name, form.scopes, caller.subject_id, form.ad_accounts or None)
    code = actions.issue_auth_code(tx, *new)
    return {"form": None, "issued": {"code": {"name": form.name.strip(), "value": code}}}


@router.form("/settings/tokens/{token_id}/revoke", Permission.ADMINISTER)
def post_revoke(tx: Tx, request: Request, caller: Caller, token_id: str) -> str:
    actions.revoke_token(tx, caller.business_id, token_id)
    return "/settings#tokens"
