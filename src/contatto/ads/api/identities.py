"""Identities in the API v1.3: the accounts that ads speak for."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

from pydantic import Field
from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.channels import store as channels
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import ChannelAccount, Platform
from contatto.kit.api_types import (
    Answer,
    ApiId,
    ApiModel,
    PageInfo,
    PageQuery,
    describe_query,
    page_info,
    read_query,
    request_id_of,
)
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

identity_router: Final = ApiRouter(prefix="/open_api/v1.3/identity", tags=["Identities"])
type IdentityType = Literal["TT_USER", "CUSTOMIZED_USER"]
TYPES: Final[Mapping[Platform, IdentityType]] = {
    Platform.TIKTOK: "TT_USER",
    Platform.WEBCHAT: "CUSTOMIZED_USER",
}
"""What the API calls an account of a platform, and one of our own chat page."""


class IdentityQuery(PageQuery):
    advertiser_id: ApiId
    identity_type: Literal["TT_USER", "BC_AUTH_TT", "CUSTOMIZED_USER", "AUTH_CODE"] | None = None


class CreateIdentity(ApiModel):
    advertiser_id: ApiId
    display_name: Annotated[str, Field(min_length=1, max_length=100)]


class IdentityInfo(Answer, frozen=True):
    identity_id: str
    identity_type: IdentityType
    display_name: str
    username: str
    available_status: Literal["AVAILABLE"]
    country: str


class Identities(Answer, frozen=True):
    identity_list: list[IdentityInfo]
    page_info: PageInfo


class IdentityId(Answer, frozen=True):
    identity_id: str


@identity_router.get("/get/", openapi_extra=describe_query(IdentityQuery))
async def get_identities(request: Request, caller: ApiCaller) -> Answered[Identities]:
    """List the accounts that ads can speak for: TikTok accounts, and chat pages as CUSTOMIZED_USER."""
    require(caller, Permission.READ_ADS)
    query = read_query(request, IdentityQuery)

    def work(tx: Tx) -> Identities:
        load_advertiser(tx, caller, query.advertiser_id)
        accounts = channels.list_accounts(tx, caller.business_id)
        rows = [_show_identity(account) for account in accounts if account.platform in TYPES]
        rows = [row for row in rows if query.identity_type in (None, row.identity_type)]
        first = (query.page - 1) * query.page_size
        shown = rows[first : first + query.page_size]
        return Identities(shown, page_info(query, len(rows)))

    return api_answer(await context_of(request).db.read(work), request_id_of(request))


@identity_router.post("/create/")
async def create_identity(request: Request, caller: ApiCaller, body: CreateIdentity) -> Answered[IdentityId]:
    """Make a chat page of our own, registered where the ad account is; capture is off to begin with."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> ChannelAccount:
        account = load_advertiser(tx, caller, body.advertiser_id)
        new = NewAccount(Platform.WEBCHAT, "", body.display_name, "", account.country)
        return connect_account(tx, caller.business_id, new)

    identity = await context_of(request).db.write(work)
    return api_answer(IdentityId(identity.id), request_id_of(request))


def _show_identity(account: ChannelAccount) -> IdentityInfo:
    return IdentityInfo(
        identity_id=account.id,
        identity_type=TYPES[account.platform],
        display_name=account.name,
        username=account.handle,
        available_status="AVAILABLE",
        country=account.registration_country,
    )
