"""The ad decision: a publisher asks which ad a viewer sees."""

from collections.abc import Iterable
from typing import Annotated, Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from contatto.accounts.model import Caller, Permission
from contatto.accounts.rules import require
from contatto.audiences.actions import blind_digests
from contatto.audiences.model import Fingerprint
from contatto.delivery.actions.choosing import serve_ad
from contatto.delivery.actions.exchanging import serve_placement
from contatto.delivery.actions.serving import AdServer
from contatto.delivery.auth import RecentCallers
from contatto.delivery.model.decisions import AdRequest
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.http import DirectRoute, json_answer, read_body, refusal_answer
from contatto.kit.texts import JSON_ERRORS
from contatto.measurement.rules import TRACKING_KEY
from contatto.ui.context import context_of, part_of

BODY_LIMIT: Final = 8 * 1024

type Viewer = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
type Country = Annotated[str, msgspec.Meta(min_length=2, max_length=3)]
type AccountId = Annotated[str, msgspec.Meta(max_length=36)]
type Language = Annotated[str, msgspec.Meta(min_length=2, max_length=35)]
type Age = Annotated[int, msgspec.Meta(ge=0, le=150)]
type Interests = Annotated[
    frozenset[Annotated[str, msgspec.Meta(max_length=36)]], msgspec.Meta(max_length=200)
]
type Digests = Annotated[
    frozenset[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]], msgspec.Meta(max_length=20)
]

type Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
type Value = Annotated[str, msgspec.Meta(max_length=128)]
type Feature = Value | float | bool | Annotated[list[Value], msgspec.Meta(max_length=32)] | None
type Features = Annotated[dict[Name, Feature], msgspec.Meta(max_length=40)]
type Floor = Annotated[int, msgspec.Meta(ge=0, le=10**12)]


class DecisionBody(msgspec.Struct):
    """The body of a decision request; fields that we do not know are ignored.

    ``features`` are what the publisher knows of the viewer and the place: texts, numbers or lists of texts
    under any name. Without ``consent`` they take no part, nor does what the viewer did before.
    ``floor_micros`` is the least price of a thousand views that wins the place. To an operator ``placement``
    names one of its placements, by id or name.
    """

    viewer_id: Viewer
    country: Country
    channel_account_id: AccountId | None = None
    language: Language | None = None
    age: Age | None = None
    interest_category_ids: Interests | None = None
    digests: Digests = frozenset()
    placement: Name | None = None
    device: Name | None = None
    features: Features = {}
    consent: bool = False
    floor_micros: Floor = 0


_decode = msgspec.json.Decoder(DecisionBody).decode


async def decide_ad(request: Request) -> Response:
    """Answer with the ad that won, or with null."""
    try:
        caller = await part_of(request, RecentCallers).caller_of(request)
        require(caller, Permission.READ_ADS)
        asked = await _read(request)
        context = context_of(request)
        signer, now = context.vault.signer(TRACKING_KEY), context.clock.now()
        server = part_of(request, AdServer)

        def blind_for(business_id: str) -> Iterable[Fingerprint]:
            return blind_digests(context.vault, business_id, asked.digests)

        field = await server.operators.field(caller.business_id)
        if field is None:
            wanted = _wanted(asked, caller, blind_for(caller.business_id))
            served = await serve_ad(server, caller.business_id, wanted, now, signer)
        else:
            wanted = _wanted(asked, caller, ())
            served = await serve_placement(server, field, wanted, blind_for, now, signer)
    except Refused as refused:
        return refusal_answer(refused, getattr(request.state, "request_id", ""))
    return json_answer({"ad": served})


async def _read(request: Request) -> DecisionBody:
    try:
        asked = _decode(await read_body(request, BODY_LIMIT))
    except msgspec.ValidationError as error:
        raise Refused(errors.INVALID, str(error)) from error
    except JSON_ERRORS as error:
        raise Refused(errors.UNREADABLE) from error
    if not asked.viewer_id.isprintable():
        raise Refused(errors.INVALID, "viewer_id: give printable characters only.")
    return asked


def _wanted(asked: DecisionBody, caller: Caller, prints: Iterable[Fingerprint]) -> AdRequest:
    language = asked.language and asked.language.partition("-")[0].lower()
    return AdRequest(
        asked.viewer_id,
        asked.country,
        asked.channel_account_id,
        language,
        asked.age,
        asked.interest_category_ids,
        frozenset(prints),
        caller.ad_account_ids,
        asked.placement or "",
        asked.device or "",
        asked.features,
        asked.consent,
        asked.floor_micros,
    )


routes = [DirectRoute("/delivery/decide", decide_ad, methods=["POST"])]
