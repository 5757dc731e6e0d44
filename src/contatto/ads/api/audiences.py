"""Deleting audiences in the API v1.3: here, because what uses them is known here."""

from typing import Annotated, Final

from pydantic import Field
from starlette.requests import Request

from contatto.accounts.actions import load_advertiser
from contatto.accounts.auth import ApiCaller
from contatto.accounts.model import Permission
from contatto.accounts.rules import require
from contatto.ads.actions.audiences import delete_unused_audiences
from contatto.audiences.actions import finish_changes
from contatto.kit.api_types import Answer, ApiId, ApiModel, IdText, request_id_of
from contatto.kit.db.tx import Tx
from contatto.kit.http import Answered, api_answer
from contatto.kit.openapi import ApiRouter
from contatto.ui.context import context_of

audience_router: Final = ApiRouter(prefix="/open_api/v1.3/dmp/custom_audience", tags=["Audiences"])


class DeleteAudiences(ApiModel):
    advertiser_id: ApiId
    custom_audience_ids: Annotated[list[ApiId], Field(min_length=1, max_length=100)]


class DeletedAudiences(Answer, frozen=True):
    custom_audience_ids: list[IdText]


@audience_router.post("/delete/")
async def delete_custom_audiences(
    request: Request, caller: ApiCaller, body: DeleteAudiences
) -> Answered[DeletedAudiences]:
    """Delete audiences with their members: all that are named, or none of them if one is still in use."""
    require(caller, Permission.WRITE_ADS)

    def work(tx: Tx) -> list[str]:
        account = load_advertiser(tx, caller, body.advertiser_id)
        return delete_unused_audiences(tx, account, body.custom_audience_ids)

    db = context_of(request).db
    await finish_changes(db, caller.business_id, await db.write(work))
    ids = [str(number) for number in body.custom_audience_ids]
    return api_answer(DeletedAudiences(ids), request_id_of(request))
