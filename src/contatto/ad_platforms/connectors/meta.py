"""Meta Ads (Facebook, Instagram, WhatsApp): an ad account's campaigns, ad sets, ads and daily figures.

Source: Meta, Marketing API: ``act_<id>``, ``/campaigns``, ``/adsets``, ``/ads``, ``/insights`` with
``level=ad`` and ``time_increment=1``; cursor-based pagination; Graph API error codes; Facebook Login,
``/oauth/access_token``.
"""

from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from contatto.ad_platforms import model, rules
from contatto.channels.model import ChannelApp
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS

VERSION: Final = "v23.0"
_NODES_A_PAGE: Final = 200
_ROWS_A_PAGE: Final = 500
_EDGES: Final = {
    model.NodeLevel.CAMPAIGN: ("campaigns", "id,name,effective_status", ""),
    model.NodeLevel.AD_GROUP: (
        "adsets",
        "id,name,campaign_id,optimization_goal,effective_status",
        "campaign_id",
    ),
    model.NodeLevel.AD: ("ads", "id,name,adset_id,effective_status", "adset_id"),
}
_TOO_FAST: Final = frozenset({4, 17, 32, 341, 613, 80000, 80003, 80004, 80014})
_AWAY: Final = frozenset({1, 2})
_TOKEN_REFUSED: Final = frozenset({10, 102, 190, 200, 294})
_PAUSED: Final = frozenset({"PAUSED", "CAMPAIGN_PAUSED", "ADSET_PAUSED", "DISAPPROVED", "WITH_ISSUES"})
_DELETED: Final = frozenset({"DELETED", "ARCHIVED"})


class _Error(msgspec.Struct):
    code: int = 0


class _Answer(msgspec.Struct):
    error: _Error | None = None
    data: list[dict[str, Any]] = []
    paging: dict[str, Any] = {}
    account_id: str = ""
    name: str = ""
    currency: str = ""
    timezone_name: str = ""
    access_token: str = ""


_answers: Final = msgspec.json.Decoder(_Answer)


class MetaAds:
    platform = model.AdPlatform.META
    base_url = "https://graph.facebook.com"
    lead_goals = frozenset({"LEAD_GENERATION", "QUALITY_LEAD", "OFFSITE_CONVERSIONS"})

    def ask(self, access: model.PullAccess, walk: model.Walk) -> HttpRequest:
        if walk.part is model.Part.ACCOUNT:
            return _get(access, "", {"fields": "account_id,name,currency,timezone_name"})
        after = {"after": walk.cursor} if walk.cursor else {}
        if walk.part is model.Part.SPEND:
            days = msgspec.json.encode({"since": walk.first, "until": walk.last}).decode()
            query = {
                "level": "ad",
                "time_increment": "1",
                "time_range": days,
                "fields": "ad_id,spend,impressions,clicks",
                "limit": str(_ROWS_A_PAGE),
            }
            return _get(access, "/insights", query | after)
        edge, fields, _ = _EDGES[model.LEVEL_OF[walk.part]]
        return _get(access, f"/{edge}", {"fields": fields, "limit": str(_NODES_A_PAGE)} | after)

    def read(
        self, access: model.PullAccess, walk: model.Walk, answer: HttpAnswer
    ) -> model.PullPage | model.PullFailure:
        decoded = _read_answer(answer)
        if not isinstance(decoded, _Answer):
            return decoded
        if walk.part is model.Part.ACCOUNT:
            zone = rules.known_zone(decoded.timezone_name)
            return model.AccountFacts(
                rules.short_name(decoded.name), rules.known_currency(decoded.currency), zone
            )
        cursors = decoded.paging.get("cursors")
        after = cursors.get("after") if isinstance(cursors, dict) else None
        if "next" not in decoded.paging or not isinstance(after, str):
            after = ""
        if after and after == walk.cursor:
            return rules.REPEATED
        return rules.page_of(
            walk,
            after[:2_000],
            decoded.data,
            _node,
            lambda row: rules.platform_ad_day(
                row.get("ad_id"), row.get("date_start"), row.get("spend", "0"), row
            ),
        )

    def authorize_url(self, app_id: str, state: str, back: str) -> str:
        query = {"client_id": app_id, "state": state, "redirect_uri": back, "scope": "ads_read"}
        return f"https://www.facebook.com/{VERSION}/dialog/oauth?{urlencode(query)}"

    def exchange(self, base_url: str, app: ChannelApp, code: str, back: str) -> HttpRequest:
        body = {"client_id": app.app_id, "client_secret": app.secret, "code": code, "redirect_uri": back}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        url = f"{base_url}/{VERSION}/oauth/access_token"
        return HttpRequest("POST", url, headers, urlencode(body).encode())

    def read_token(self, answer: HttpAnswer) -> str | model.PullFailure:
        decoded = _read_answer(answer)
        if not isinstance(decoded, _Answer):
            return decoded
        return decoded.access_token or Failed("token_refused")


def _get(access: model.PullAccess, edge: str, query: dict[str, str]) -> HttpRequest:
    headers = {"Authorization": f"Bearer {access.access_token}", "Accept": "application/json"}
    account = f"act_{quote(access.external_id.removeprefix('act_'), safe='')}"
    return HttpRequest("GET", f"{access.base_url}/{VERSION}/{account}{edge}?{urlencode(query)}", headers, b"")


def _read_answer(answer: HttpAnswer) -> _Answer | model.PullFailure:
    try:
        decoded = _answers.decode(answer.body)
    except JSON_ERRORS:
        return meta_failure(answer, 0) or NotNow("not_json", retry_after_s(answer))
    return meta_failure(answer, decoded.error.code if decoded.error else 0) or decoded


def meta_failure(answer: HttpAnswer, code: int) -> model.PullFailure | None:
    """Classify an error of the Graph API by status and code; None without an error."""
    for reason, codes in (("too_fast", _TOO_FAST), ("platform_away", _AWAY)):
        if code in codes:
            return NotNow(reason, retry_after_s(answer))
    if answer.status in (408, 409, 425, 429) or answer.status >= 500:
        return NotNow(f"http_{answer.status}", retry_after_s(answer))
    if code in _TOKEN_REFUSED or answer.status in (401, 403):
        return Failed("token_refused")
    if code or answer.status != 200:
        return Failed(f"platform_{code}"[:64] if code > 0 else f"http_{answer.status}")
    return None


def _node(level: model.NodeLevel, row: dict[str, Any]) -> model.OutsideNode | None:
    number, parent_field = rules.platform_number(row.get("id")), _EDGES[level][2]
    if number is None:
        return None
    sent_status = row.get("effective_status")
    status = model.OutsideStatus.PAUSED if sent_status in _PAUSED else model.OutsideStatus.ACTIVE
    if sent_status in _DELETED:
        status = model.OutsideStatus.DELETED
    return model.OutsideNode(
        level,
        number,
        rules.platform_number(row.get(parent_field)) or 0 if parent_field else 0,
        rules.short_name(row.get("name")) or str(number),
        status,
        rules.short_name(row.get("optimization_goal"))[:64] if level is model.NodeLevel.AD_GROUP else "",
    )
