"""The page of channel accounts and their capture switches."""

from typing import Annotated, Any, Final

from fastapi import Form, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from contatto.accounts.auth import FormCaller, PageCaller, Unsent, may, page_routes
from contatto.accounts.model import Access, Credential, Permission
from contatto.capture import actions, store
from contatto.capture.actions import CompanyData
from contatto.capture.model import CaptureSwitch, Review
from contatto.channels.store import find_account, list_accounts
from contatto.kit import errors
from contatto.kit.db.tx import Tx, row_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import split_fault
from contatto.ui.render import translator_of
from contatto.ui.requests import context_of, show_page

router = page_routes("/settings/capture")
_OFF_STATES: Final = {Review.PENDING: "in_review", Review.APPROVED: "off", Review.REFUSED: "refused"}


@router.post("/{account_id}/application", Permission.ADMINISTER)
async def post_application(
    request: Request,
    caller: FormCaller,
    account_id: str,
    company_name: Annotated[str, Form(max_length=200)] = "",
    company_site: Annotated[str, Form(max_length=2000)] = "",
    privacy_policy_url: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    company = CompanyData(company_name, company_site, privacy_policy_url)
    needs_review = context_of(request).settings.needs_capture_review

    def save(tx: Tx) -> CaptureSwitch:
        check_found(find_account(tx, caller.business_id, account_id), "Channel account not found.")
        return actions.save_company_data(
            tx, caller.business_id, account_id, company, needs_review=needs_review
        )

    try:
        await context_of(request).db.write(save)
    except Refused as refused:
        return await show_capture(request, caller, (account_id, company, refused.expect(errors.INVALID)))
    return RedirectResponse("/settings/capture", 303)


@router.post("/{account_id}/switch", Permission.ADMINISTER)
async def post_switch(
    request: Request, caller: FormCaller, account_id: str, on: Annotated[str, Form()] = "0"
) -> Response:

    def flip(tx: Tx) -> None:
        check_found(find_account(tx, caller.business_id, account_id), "Channel account not found.")
        if on == "1":
            switch = actions.turn_on_capture(tx, caller.business_id, account_id, None)
            if not switch.is_on:
                raise Refused(errors.CAPTURE_IN_REVIEW)
        else:
            actions.turn_off_capture(tx, caller.business_id, account_id)

    await context_of(request).db.write(flip)
    return RedirectResponse("/settings/capture", 303)


@router.get("", Access(Credential.MEMBER))
async def show_capture(
    request: Request,
    caller: PageCaller,
    failed: Annotated[tuple[str, CompanyData, Refused] | None, Unsent] = None,
) -> HTMLResponse:
    """Show the page; after a refused application, with the entered values and the error."""
    words = translator_of(request)

    def load(tx: Tx) -> dict[str, Any]:
        switches = store.list_switches(tx, caller.business_id)
        shown_accounts: list[dict[str, Any]] = []
        for account in list_accounts(tx, caller.business_id):
            switch = switches.get(account.id)
            data: CaptureSwitch | CompanyData | None = switch
            problems: dict[str, str] = {}
            if failed and failed[0] == account.id:
                field, says = split_fault(failed[2], words)
                data, problems = failed[1], {field: says}
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
        return {"accounts": shown_accounts}

    can_manage, refused = may(caller, Permission.ADMINISTER), failed[2] if failed else None
    return await show_page(request, caller, "capture/settings.html", load, refused, can_manage=can_manage)
