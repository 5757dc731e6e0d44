"""Connector of TikTok Ads: campaigns, ad groups, ads and daily figures.

Source: TikTok API for Business v1.3: ``/advertiser/info/``, ``/campaign/get/``, ``/adgroup/get/``,
``/ad/get/``, ``/report/integrated/get/``, ``/oauth2/access_token/``. Answers come with 200 and a ``code``.
"""

from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from contatto.ad_platforms import model, rules
from contatto.channels.model import ChannelApp
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow, retry_after_s
from contatto.kit.values import JSON_ERRORS

_API: Final = "/open_api/v1.3"
_NODES_A_PAGE: Final = 200
_ROWS_A_PAGE: Final = 500
"""Rows of one ad and day; this many stay well below the limit of a response."""
_DAY_S: Final = 86_400
_WINDOWS: Final = {
    "OFF": None,
    "ONE_DAY": _DAY_S,
    "SEVEN_DAYS": 7 * _DAY_S,
    "FOURTEEN_DAYS": 14 * _DAY_S,
    "TWENTY_EIGHT_DAYS": 28 * _DAY_S,
}
_VIEW_WINDOWS: Final = frozenset({"OFF", "ONE_DAY", "SEVEN_DAYS"})
_NOT_NOW: Final = {
    **dict.fromkeys((40016, 40100, 40132, 40133, 61000), "too_fast"),
    **dict.fromkeys((50000, 50002, 60001), "platform_away"),
}
_TOKEN_REFUSED: Final = frozenset({40001, 40102, 40104, 40105, 40110, 40118, 40130})
_NAMES: Final = {
    model.NodeLevel.CAMPAIGN: ("campaign", "campaign_id", ""),
    model.NodeLevel.AD_GROUP: ("adgroup", "adgroup_id", "campaign_id"),
    model.NodeLevel.AD: ("ad", "ad_id", "adgroup_id"),
}
"""Name in paths, field of the id, and field of the parent's id, by level."""
_FIELDS: Final = {
    model.NodeLevel.CAMPAIGN: ("campaign_id", "campaign_name"),
    model.NodeLevel.AD_GROUP: (
        "adgroup_id",
        "adgroup_name",
        "campaign_id",
        "optimization_goal",
        "click_attribution_window",
        "view_attribution_window",
    ),
    model.NodeLevel.AD: ("ad_id", "ad_name", "adgroup_id"),
}
"""Fields that we need; whole ads would exceed the size limit of a response."""


class _Data(msgspec.Struct):
    rows: list[dict[str, Any]] = msgspec.field(name="list", default_factory=list)
    page_info: dict[str, Any] = {}
    access_token: str = ""


class _Answer(msgspec.Struct):
    code: int
    data: _Data | None = None


_answers: Final = msgspec.json.Decoder(_Answer)


class TikTokAds:
    platform = model.AdPlatform.TIKTOK
    base_url = "https://business-api.tiktok.com"
    lead_goals = frozenset({"LEAD_GENERATION", "CONVERSION_LEADS", "PREFERRED_LEAD", "LEAD"})

    def ask(self, access: model.PullAccess, walk: model.Walk) -> HttpRequest:
        advertiser = access.external_id
        if walk.part is model.Part.ACCOUNT:
            return _get(access, "advertiser/info", {"advertiser_ids": _json([advertiser])})
        page = walk.cursor or "1"
        if walk.part is model.Part.SPEND:
            query = {
                "advertiser_id": advertiser,
                "report_type": "BASIC",
                "service_type": "AUCTION",
                "data_level": "AUCTION_AD",
                "dimensions": _json(["ad_id", "stat_time_day"]),
                "metrics": _json(["spend", "impressions", "clicks"]),
                "start_date": walk.first,
                "end_date": walk.last,
                "page": page,
                "page_size": str(_ROWS_A_PAGE),
            }
            return _get(access, "report/integrated/get", query)
        name = _NAMES[model.LEVEL_OF[walk.part]][0]
        query = {
            "advertiser_id": advertiser,
            "fields": _json([*_FIELDS[model.LEVEL_OF[walk.part]], "operation_status", "secondary_status"]),
            "filtering": _json({"primary_status": "STATUS_ALL"}),
            "page": page,
            "page_size": str(_NODES_A_PAGE),
        }
        return _get(access, f"{name}/get", query)

    def read(
        self, access: model.PullAccess, walk: model.Walk, answer: HttpAnswer
    ) -> model.PullPage | model.PullFailure:
        data = _data_of(answer)
        if not isinstance(data, _Data):
            return data
        if walk.part is model.Part.ACCOUNT:
            for row in data.rows:
                if str(row.get("advertiser_id", "")) == access.external_id:
                    zone = rules.known_zone(row.get("timezone") or row.get("display_timezone"))
                    currency = rules.known_currency(row.get("currency"))
                    return model.AccountFacts(rules.short_name(row.get("name")), currency, zone)
            return Failed("account_not_shared")
        page_number, sent_number = int(walk.cursor or "1"), rules.platform_count(data.page_info.get("page"))
        if sent_number is not None and sent_number != page_number:
            return rules.REPEATED
        last = rules.platform_count(data.page_info.get("total_page")) or 1
        cursor = str(page_number + 1) if page_number < last else ""
        return rules.page_of(walk, cursor, data.rows, _node, _day)

    def authorize_url(self, app_id: str, state: str, back: str) -> str:
        query = {"app_id": app_id, "state": state, "redirect_uri": back}
        return f"{self.base_url}/portal/auth?{urlencode(query)}"

    def exchange(self, base_url: str, app: ChannelApp, code: str, back: str) -> HttpRequest:
        body = {"app_id": app.app_id, "secret": app.secret, "auth_code": code}
        headers = {"Content-Type": "application/json"}
        return HttpRequest(
            "POST", f"{base_url}{_API}/oauth2/access_token/", headers, msgspec.json.encode(body)
        )

    def read_token(self, answer: HttpAnswer) -> str | model.PullFailure:
        data = _data_of(answer)
        if not isinstance(data, _Data):
            return data
        return data.access_token or Failed("token_refused")


def _get(access: model.PullAccess, name: str, query: dict[str, str]) -> HttpRequest:
    headers = {"Access-Token": access.access_token, "Accept": "application/json"}
    return HttpRequest("GET", f"{access.base_url}{_API}/{name}/?{urlencode(query)}", headers, b"")


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _data_of(answer: HttpAnswer) -> _Data | model.PullFailure:
    try:
        decoded = _answers.decode(answer.body)
    except JSON_ERRORS:
        return tiktok_failure(answer, 0) or NotNow("not_json", retry_after_s(answer))
    return tiktok_failure(answer, decoded.code) or decoded.data or _Data()


def tiktok_failure(answer: HttpAnswer, code: int) -> model.PullFailure | None:
    """Return the failure in a response, by status and code; None without an error.

    The platform itself always sends 200 with a code; another status is that of a proxy.
    """
    if answer.status in (408, 409, 425, 429) or answer.status >= 500:
        return NotNow(f"http_{answer.status}", retry_after_s(answer))
    if answer.status != 200:
        return Failed("token_refused" if answer.status in (401, 403) else f"http_{answer.status}")
    if code == 0:
        return None
    if code in _NOT_NOW:
        return NotNow(_NOT_NOW[code], retry_after_s(answer))
    return Failed("token_refused" if code in _TOKEN_REFUSED else f"platform_{code}"[:64])


def _node(level: model.NodeLevel, row: dict[str, Any]) -> model.OutsideNode | None:
    name, id_field, parent_field = _NAMES[level]
    number = rules.platform_number(row.get(id_field))
    if number is None:
        return None
    status = (
        model.OutsideStatus.PAUSED if row.get("operation_status") == "DISABLE" else model.OutsideStatus.ACTIVE
    )
    is_deleted = str(row.get("secondary_status", "")).endswith("_DELETE")
    if is_deleted or row.get("operation_status") == "DELETE":
        status = model.OutsideStatus.DELETED
    click, view = row.get("click_attribution_window"), row.get("view_attribution_window")
    return model.OutsideNode(
        level,
        number,
        rules.platform_number(row.get(parent_field)) or 0 if parent_field else 0,
        rules.short_name(row.get(f"{name}_name")) or str(number),
        status,
        rules.short_name(row.get("optimization_goal"))[:64] if level is model.NodeLevel.AD_GROUP else "",
        _WINDOWS.get(str(click), 7 * _DAY_S),
        _WINDOWS[str(view)] if str(view) in _VIEW_WINDOWS else _DAY_S,
    )


def _day(row: dict[str, Any]) -> model.AdDay | None:
    dimensions, metrics = row.get("dimensions"), row.get("metrics")
    if not isinstance(dimensions, dict) or not isinstance(metrics, dict):
        return None
    return rules.platform_ad_day(
        dimensions.get("ad_id"), dimensions.get("stat_time_day"), metrics.get("spend"), metrics
    )
