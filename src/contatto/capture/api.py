"""API extension for the switch of automatic lead capture."""

from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from contatto.accounts.auth import ApiCaller, api_routes, require_all_accounts
from contatto.accounts.model import Permission
from contatto.capture import actions
from contatto.capture.actions import CompanyData
from contatto.capture.model import CaptureSwitch, Review
from contatto.channels.store import find_account
from contatto.kit.api_types import Answer, Answered, api_answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import check_found
from contatto.ui.requests import context_of

router = api_routes("Extensions", "/contatto/capture")


class CaptureRequest(BaseModel):
    """Turn capture on for a channel account; company data given before need not be given again."""

    model_config = ConfigDict(extra="ignore")

    channel_account_id: Annotated[str, Field(max_length=64)]
    company_name: Annotated[str, Field(max_length=200)] = ""
    company_site: Annotated[str, Field(max_length=2000)] = ""
    privacy_policy_url: Annotated[str, Field(max_length=2000)] = ""


class CaptureState(Answer, frozen=True):
    channel_account_id: str
    capture: Literal["ON", "OFF", "REFUSED", "IN_REVIEW"]


@router.post("/turn_on/", Permission.WRITE_ADS)
async def turn_on(request: Request, caller: ApiCaller, body: CaptureRequest) -> Answered[CaptureState]:
    """Turn automatic lead capture on (extension); IN_REVIEW while the operator has not approved it."""
    context = context_of(request)
    require_all_accounts(caller)
    company_data = CompanyData(body.company_name, body.company_site, body.privacy_policy_url)
    company = company_data if any((body.company_name, body.company_site, body.privacy_policy_url)) else None

    def work(tx: Tx) -> CaptureSwitch:
        _check_owned(tx, caller.business_id, body.channel_account_id)
        account_id = body.channel_account_id
        return actions.turn_on_capture(
            tx, caller.business_id, account_id, company, needs_review=context.settings.needs_capture_review
        )

    switch = await context.db.write(work)
    not_on: Literal["REFUSED", "IN_REVIEW"] = "REFUSED" if switch.review is Review.REFUSED else "IN_REVIEW"
    data = CaptureState(switch.channel_account_id, "ON" if switch.is_on else not_on)
    return api_answer(data, request.state.request_id)


@router.post("/turn_off/", Permission.WRITE_ADS)
async def turn_off(request: Request, caller: ApiCaller, body: CaptureRequest) -> Answered[CaptureState]:
    """Turn automatic lead capture off (extension): nothing more is detected, leads stay."""
    require_all_accounts(caller)

    def work(tx: Tx) -> None:
        _check_owned(tx, caller.business_id, body.channel_account_id)
        actions.turn_off_capture(tx, caller.business_id, body.channel_account_id)

    await context_of(request).db.write(work)
    data = CaptureState(body.channel_account_id, "OFF")
    return api_answer(data, request.state.request_id)


def _check_owned(tx: Tx, business_id: str, channel_account_id: str) -> None:
    check_found(
        find_account(tx, business_id, channel_account_id),
        "channel_account_id: this business has no such channel account.",
    )
