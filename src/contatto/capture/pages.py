"""The page of channel accounts and their capture switches."""

from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BaseModel, Field

from contatto.accounts.auth import may, page_routes
from contatto.accounts.model import Access, Caller, Credential, Permission
from contatto.capture import actions, store
from contatto.capture.actions import CompanyData
from contatto.capture.model import CaptureSwitch, Review
from contatto.channels.store import find_account, list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of

HOME: Final = "/settings/capture"
router = page_routes(HOME)
_OFF_STATES: Final = {Review.PENDING: "in_review", Review.APPROVED: "off", Review.REFUSED: "refused"}


class CompanyForm(BaseModel):
    company_name: Annotated[str, Field(max_length=200)] = ""
    company_site: Annotated[str, Field(max_length=2000)] = ""
    privacy_policy_url: Annotated[str, Field(max_length=2000)] = ""


@router.page("", Access(Credential.MEMBER), "capture/settings.html")
def show_capture(
    tx: Tx,
    request: Request,
    caller: Caller,
    *,
    account_id: str = "",
    company: CompanyForm | None = None,
    refused: Refused | None = None,
) -> dict[str, Any]:
    """Show the page; after a refused application, with the entered values and the error."""
    words = translator_of(request)
    switches = store.list_switches(tx, caller.business_id)
    shown_accounts: list[dict[str, Any]] = []
    for account in list_accounts(tx, caller.business_id):
        switch = switches.get(account.id)
        data: CaptureSwitch | CompanyForm | None = switch
        problems: dict[str, str] = {}
        if refused and account_id == account.id:
            field, says = split_fault(refused, words)
            data, problems = company, {field: says}
        state = "not_applied" if switch is None else _OFF_STATES[switch.review]
        shown_accounts.append(
            row_of(account)
            | {
                "state": "on" if switch and switch.is_on else state,
                "company_name": data.company_name if data else "",
                "company_site": data.company_site if data else "",
                "privacy_policy_url": data.privacy_policy_url if data else "",
                "refused_reason": switch.refused_reason if switch else None,
                "applied_at": switch.applied_at if switch else None,
                "waits": switch is not None and switch.is_on and switch.review is Review.PENDING,
                "switched_at": switch.turned_on_at if switch else None,
                "errors": problems,
            }
        )
    return {"accounts": shown_accounts, "can_manage": may(caller, Permission.ADMINISTER)}


@router.form("/{account_id}/application", Permission.ADMINISTER, show_capture, errors.INVALID)
def post_application(
    tx: Tx, request: Request, caller: Caller, account_id: str, company: Annotated[CompanyForm, Form()]
) -> str:
    check_found(find_account(tx, caller.business_id, account_id), "Channel account not found.")
    needs_review = context_of(request).settings.capture_review == "operator"
    data = CompanyData(**company.model_dump())
    actions.save_company_data(tx, caller.business_id, account_id, data, needs_review=needs_review)
    return HOME


@router.form("/{account_id}/switch", Permission.ADMINISTER)
def post_switch(
    tx: Tx, request: Request, caller: Caller, account_id: str, on: Annotated[str, Form()] = "0"
) -> str:
    check_found(find_account(tx, caller.business_id, account_id), "Channel account not found.")
    if on == "1":
        switch = actions.turn_on_capture(tx, caller.business_id, account_id, None)
        if not switch.is_on:
            raise Refused(errors.CAPTURE_IN_REVIEW)
    else:
        actions.turn_off_capture(tx, caller.business_id, account_id)
    return HOME
