"""API extension for the switch of automatic lead capture."""

from typing import Annotated, Final, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from contatto.accounts.auth import api_routes, require_all_accounts
from contatto.accounts.model import Caller, Permission
from contatto.capture import actions
from contatto.capture.actions import CompanyData
from contatto.capture.model import Review
from contatto.channels.store import find_account
from contatto.kit.api_types import Answer
from contatto.kit.db.tx import Tx
from contatto.kit.errors import check_found
from contatto.ui.requests import context_of

router = api_routes("Extensions", "/contatto/capture")
_NOT_OWNED: Final = "channel_account_id: this business has no such channel account."


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


@router.transact("/turn_on/", Permission.WRITE_ADS)
def turn_on(tx: Tx, caller: Caller, body: CaptureRequest, request: Request) -> CaptureState:
    """Turn automatic lead capture on (extension); IN_REVIEW while the operator has not approved it."""
    require_all_accounts(caller)
    company_data = CompanyData(body.company_name, body.company_site, body.privacy_policy_url)
    company = company_data if any((body.company_name, body.company_site, body.privacy_policy_url)) else None
    check_found(find_account(tx, caller.business_id, body.channel_account_id), _NOT_OWNED)
    needs_review = context_of(request).settings.capture_review == "operator"
    switch = actions.turn_on_capture(
        tx, caller.business_id, body.channel_account_id, company, needs_review=needs_review
    )
    not_on: Literal["REFUSED", "IN_REVIEW"] = "REFUSED" if switch.review is Review.REFUSED else "IN_REVIEW"
    return CaptureState(switch.channel_account_id, "ON" if switch.is_on else not_on)


@router.transact("/turn_off/", Permission.WRITE_ADS)
def turn_off(tx: Tx, caller: Caller, body: CaptureRequest) -> CaptureState:
    """Turn automatic lead capture off (extension): nothing more is detected, leads stay."""
    require_all_accounts(caller)
    check_found(find_account(tx, caller.business_id, body.channel_account_id), _NOT_OWNED)
    actions.turn_off_capture(tx, caller.business_id, body.channel_account_id)
    return CaptureState(body.channel_account_id, "OFF")
