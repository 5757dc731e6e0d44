"""Access rules and read audit of routes: one table, which applies to every request with a caller.

A route outside of the table admits nobody. Further conditions stand in the route itself. A test asks every
route for contact values, so that `SHOWS_CONTACTS` is complete; other reads are recorded all the same.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache, lru_cache
from typing import Final

from contatto.accounts.model import Access, Credential, Permission
from contatto.audit.model import Look
from contatto.ui.render import asset_folders

_API: Final = "/open_api/v1.3"

_TARGET: Final = "/settings/integrations/{target_id}"
_ELSEWHERE: Final = "/settings/ad-platforms/{outside_id}"
_SIGNALS: Final = f"{_ELSEWHERE}/signals"
_INTEGRATIONS: Final = (
    f"GET {_SIGNALS}", f"POST {_SIGNALS}", f"POST {_SIGNALS}/{{signal_id}}/resend",
    *(f"POST {_SIGNALS}/{step}" for step in ("pause", "resume", "stop", "test", "resend")),
    "POST /settings/ad-platforms", *(f"{way} /settings/ad-platforms/return" for way in ("GET", "POST")),
    *(f"POST {_ELSEWHERE}/{step}" for step in ("code", "disconnect", "pull", "token")),
    "GET /settings/integrations", f"GET {_TARGET}", "GET /settings/integrations/ledger",
    *(f"{way} /settings/integrations/connect/{{connector}}" for way in ("GET", "POST")),
    *(f"GET {_TARGET}/{part}" for part in ("dead/{delivery_id}", "log", "mapping")),
    *(f"POST {_TARGET}/{step}" for step in (
        "check", "compare", "dead/{delivery_id}", "mapping", "pause", "reconnect", "remove", "resend",
        "resume", "resync", "trial", "webhook", "webhook/close")),
)  # fmt: skip
"""Pages that connect ad accounts elsewhere and CRMs."""

_STEPS: Final = ("end", "pause", "resume", "rotate", "test")
_MEMBERS: Final[Mapping[Permission | None, tuple[str, ...]]] = {
    None: (
        "GET /",
        "GET /alerts/choices",
        "GET /help",
        "GET /help/{folder}/{page}",
        "GET /live",
        "GET /login/tries",
        "POST /logout",
        "GET /nav",
        "GET /settings",
        "GET /settings/ad-accounts",
        *(f"{method} /settings/alerts" for method in ("GET", "POST")),
        "POST /settings/alerts/browsers",
        "POST /settings/alerts/browsers/{browser_id}/remove",
        "GET /settings/capture",
        "GET /settings/members",
        *(f"{method} /settings/profile" for method in ("GET", "POST")),
        "POST /settings/profile/password",
        "POST /settings/profile/sessions/end",
        "POST /settings/profile/sessions/{session_id}/end",
        "GET /start",
        "POST /switch",
        "GET /typed/number",
    ),
    Permission.READ_INBOX: (
        "GET /inbox",
        "GET /inbox/list",
        "GET /inbox/search",
        "GET /inbox/{conversation_id}",
        "GET /inbox/{conversation_id}/contact",
        "GET /inbox/{conversation_id}/photos/{message_id}",
        "GET /inbox/{conversation_id}/thread",
        "GET /settings/channels",
        "GET /settings/chat/{account_id}",
        "GET /settings/inbox",
        "GET /settings/replies",
    ),
    Permission.WRITE_INBOX: (
        "POST /inbox/{conversation_id}/assign",
        "POST /inbox/{conversation_id}/block",
        "POST /inbox/{conversation_id}/forms",
        "POST /inbox/{conversation_id}/labels",
        "POST /inbox/{conversation_id}/labels/{label_id}/remove",
        "POST /inbox/{conversation_id}/messages",
        "POST /inbox/{conversation_id}/messages/{message_id}/retry",
        "POST /inbox/{conversation_id}/notes",
        "POST /inbox/{conversation_id}/photos",
        "POST /inbox/{conversation_id}/read",
        "POST /inbox/{conversation_id}/reopen",
        "POST /inbox/{conversation_id}/resolve",
        "POST /inbox/{conversation_id}/scheduled",
        "POST /inbox/{conversation_id}/scheduled/{reply_id}/cancel",
        "POST /inbox/{conversation_id}/snooze",
        "POST /inbox/{conversation_id}/typing",
        "POST /inbox/{conversation_id}/unblock",
        "POST /settings/replies",
        "POST /settings/replies/{reply_id}/remove",
    ),
    Permission.READ_LEADS: (
        "GET /forms/{form_id}/answers",
        "GET /leads",
        "GET /leads/jobs",
        "GET /leads/jobs/history",
        "GET /leads/jobs/{job_id}",
        "GET /leads/rows",
        "GET /leads/views",
        *(f"GET /leads/{{lead_id}}{part}" for part in ("", "/answers", "/crm", "/signals")),
        "GET /settings/subscriptions",
    ),
    Permission.WRITE_LEADS: (
        "POST /inbox/{conversation_id}/lead",
        "POST /leads/bulk",
        "GET /leads/import",
        "POST /leads/import",
        "POST /leads/import/file",
        "GET /leads/import/{job_id}",
        "POST /leads/import/{job_id}",
        "POST /leads/import/{job_id}/start",
        "GET /leads/jobs/{job_id}/rejects",
        "POST /leads/jobs/{job_id}/undo",
        "POST /leads/merge",
        "POST /leads/merge/ask",
        "POST /leads/views",
        "POST /leads/views/{view_id}",
        "POST /leads/{lead_id}/labels",
        "POST /leads/{lead_id}/labels/{label_id}/remove",
        "GET /leads/{lead_id}/merge/{other_id}",
        "POST /leads/{lead_id}/merge/{other_id}",
        "POST /leads/{lead_id}/merges/{merge_id}/undo",
        "POST /leads/{lead_id}/notes",
        "POST /leads/{lead_id}/notes/{note_id}",
        "POST /leads/{lead_id}/owner",
        "POST /leads/{lead_id}/points",
        "POST /leads/{lead_id}/points/{point_id}",
        "POST /leads/{lead_id}/points/{point_id}/reject",
        "POST /leads/{lead_id}/rejected/{rejected_id}/undo",
        "POST /leads/{lead_id}/restore",
        "POST /leads/{lead_id}/status",
        "POST /leads/{lead_id}/status/undo",
        "POST /leads/{lead_id}/tasks",
        "POST /leads/{lead_id}/tasks/{task_id}",
    ),
    Permission.EXPORT_LEADS: ("GET /forms/{form_id}/answers.csv", "GET /leads.csv", "GET /leads.xlsx"),
    Permission.ERASE_LEADS: ("POST /leads/erase", "POST /leads/erase/ask", "GET /leads/{lead_id}/erase"),
    Permission.READ_ADS: (
        "GET /ads",
        "GET /ads/audiences",
        *(f"GET /ads/delivery{part}" for part in ("", "/model")),
        "GET /ads/campaigns/{number}/eligibility",
        "GET /ads/{number}/preview",
        "GET /operator",
        "GET /settings/marketplaces",
        "GET /forms",
        "GET /forms/{form_id}",
        "GET /forms/{form_id}/test",
        "POST /forms/{form_id}/test",
        "GET /forms/{form_id}/test/{page_id}",
        "GET /settings/ad-platforms",
        "GET /settings/ad-platforms/{outside_id}",
        "GET /settings/chat/{account_id}/first",
    ),
    Permission.WRITE_ADS: (
        "POST /ads/ad-groups/{number}/ads",
        "GET /ads/ad-groups/{number}/ads/new",
        "POST /ads/audiences",
        "POST /ads/audiences/lookalikes",
        "GET /ads/audiences/lookalikes/new",
        "GET /ads/audiences/new",
        "POST /ads/audiences/{number}/delete",
        *(f"POST /ads/bulk/{act}" for act in ("bid", "budget", "delete", "pause", "start")),
        *(f"POST /operator/{act}" for act in ("placements", "reviews")),
        "POST /ads/campaigns",
        "GET /ads/campaigns/new",
        "POST /ads/campaigns/{number}/ad-groups",
        "GET /ads/campaigns/{number}/ad-groups/new",
        "PUT /ads/drafts/{kind}/{parent}",
        "POST /ads/drafts/{kind}/{parent}/discard",
        "POST /ads/{kind}/{number}/copy",
        "GET /ads/{kind}/{number}/edit",
        "POST /ads/{kind}/{number}/edit",
        "POST /ads/{kind}/{number}/status",
        "POST /forms",
        "POST /forms/defaults/{account_id}",
        "GET /forms/new",
        "POST /forms/{form_id}/draft",
        "POST /forms/{form_id}/photos",
        "GET /settings/ad-platforms/upload",
        "POST /settings/ad-platforms/upload",
        "POST /settings/ad-platforms/upload/file",
        "POST /settings/ad-platforms/upload/start",
    ),
    Permission.READ_REPORTS: (
        *(f"GET /{place}/statement.csv" for place in ("ads", "operator")),
        "GET /home",
        "GET /reports",
        "GET /reports/conversions",
        "GET /reports/conversions/{conversion_id}",
        "GET /reports/csv",
        "GET /reports/responses",
        "POST /reports/saved",
        "POST /reports/saved/{report_id}/delete",
        "GET /reports/sources",
        "GET /reports/sources/csv",
        "GET /reports/what-if",
        "GET /reports/xlsx",
    ),
    Permission.ADMINISTER: (
        *_INTEGRATIONS,
        *(f"{method} /integrations/oauth/callback" for method in ("GET", "POST")),
        *(f"{method} /integrations/oauth/{{connector}}/start" for method in ("GET", "POST")),
        "POST /settings/ad-accounts",
        "POST /settings/ad-accounts/{ad_account_id}",
        "GET /settings/audit",
        "POST /settings/auth-codes",
        "POST /settings/capture/{account_id}/application",
        "POST /settings/capture/{account_id}/switch",
        "POST /settings/channels/accounts",
        "POST /settings/channels/accounts/{account_id}/check",
        "POST /settings/channels/accounts/{account_id}/correct",
        "POST /settings/channels/accounts/{account_id}/disconnect",
        "POST /settings/channels/accounts/{account_id}/sites",
        "POST /settings/channels/accounts/{account_id}/token",
        "POST /settings/channels/apps",
        "POST /settings/chat/{account_id}",
        "POST /settings/inbox",
        "POST /settings/invitations",
        "POST /settings/invitations/{invitation_id}/withdraw",
        "GET /settings/jobs",
        *(f"POST /settings/jobs/{act}" for act in ("dismiss", "replay")),
        *(f"POST /settings/jobs/{{failed_id}}/{act}" for act in ("dismiss", "replay")),
        *(f"POST /operator/{act}" for act in ("businesses", "codes", "payments")),
        *(f"POST /settings/marketplaces{act}" for act in ("", "/code", "/leave")),
        *(
            f"POST /settings/members/{{member_id}}/{act}"
            for act in ("deactivate", "reactivate", "reset", "role")
        ),
        "POST /settings/subscriptions",
        "POST /settings/subscriptions/pushes/{push_id}/replay",
        *(f"POST /settings/subscriptions/{{subscription_id}}/{act}" for act in _STEPS),
        "POST /settings/tokens",
        "POST /settings/tokens/{token_id}/revoke",
    ),
}
"""Pages: a member's session, and for what changes something the token of a form of ours."""

_PROGRAMS: Final[Mapping[Permission | None, tuple[str, ...]]] = {
    None: ("GET /oauth2/advertiser/get/",),
    Permission.READ_INBOX: (
        "GET /business/message/auto_message/get/", "GET /business/message/capabilities/get/",
        "GET /business/message/content/list/", "GET /business/message/conversation/list/",
        "POST /business/message/media/download/",
    ),
    Permission.WRITE_INBOX: (
        "POST /business/message/auto_message/create/", "POST /business/message/auto_message/delete/",
        "POST /business/message/auto_message/sort/",
        "POST /business/message/auto_message/status/update/",
        "POST /business/message/auto_message/update/", "POST /business/message/media/upload/",
        "POST /business/message/send/",
    ),
    Permission.READ_LEADS: (
        "GET /contatto/hook/sample/", "POST /contatto/hook/subscribe/", "POST /contatto/hook/unsubscribe/",
        "GET /crm/list/", "GET /lead/field/get/", "GET /lead/get/", "GET /page/lead/mock/get/",
    ),
    Permission.WRITE_LEADS: (
        "POST /crm/create/", "POST /event/track/", "POST /page/lead/mock/create/",
        "POST /page/lead/mock/delete/",
    ),
    Permission.EXPORT_LEADS: (
        "POST /page/lead/task/", "GET /page/lead/task/download/",
    ),
    Permission.READ_ADS: (
        "GET /ad/get/", "GET /adgroup/get/", "GET /advertiser/balance/get/", "GET /advertiser/info/",
        "GET /campaign/get/",
        *(f"GET /contatto/delivery/{part}/get/" for part in (
            "decision", "expected", "lift", "model", "status")),
        "GET /contatto/eligibility/check/", "GET /creative/auto_message/get/",
        "GET /dmp/custom_audience/get/", "GET /dmp/custom_audience/list/", "GET /identity/get/",
        "GET /page/field/get/", "GET /page/get/", "GET /search/region/", "GET /smart_plus/ad/get/",
        "GET /smart_plus/adgroup/get/", "GET /smart_plus/campaign/get/", "GET /term/check/",
        "GET /tool/interest_category/", "GET /tool/language/", "GET /tool/region/",
    ),
    Permission.WRITE_ADS: (
        "POST /ad/create/", "POST /ad/status/update/", "POST /ad/update/", "POST /adgroup/create/",
        "POST /adgroup/status/update/", "POST /adgroup/update/", "POST /campaign/create/",
        "POST /campaign/status/update/", "POST /campaign/update/", "POST /contatto/capture/turn_off/",
        "POST /contatto/capture/turn_on/", "POST /creative/auto_message/create/",
        "POST /dmp/custom_audience/create/", "POST /dmp/custom_audience/delete/",
        "POST /dmp/custom_audience/file/upload/", "POST /dmp/custom_audience/lookalike/create/",
        "POST /dmp/custom_audience/rule/create/", "POST /dmp/custom_audience/update/",
        "POST /identity/create/", "POST /smart_plus/ad/create/", "POST /smart_plus/ad/status/update/",
        "POST /smart_plus/ad/update/", "POST /smart_plus/adgroup/create/",
        "POST /smart_plus/adgroup/status/update/", "POST /smart_plus/adgroup/update/",
        "POST /smart_plus/campaign/create/", "POST /smart_plus/campaign/status/update/",
        "POST /smart_plus/campaign/update/", "POST /term/confirm/",
    ),
    Permission.READ_REPORTS: (
        "GET /report/integrated/get/", "POST /report/task/cancel/", "GET /report/task/check/",
        "POST /report/task/create/", "GET /report/task/download/",
    ),
    Permission.ADMINISTER: (
        "GET /contatto/audit/list/", *(f"GET /contatto/{part}/ledger/get/" for part in ("crm", "signals")),
    ),
}  # fmt: skip
"""The API: an access token, whose scopes are permissions."""

_APPS: Final[Mapping[Permission | None, tuple[str, ...]]] = {
    Permission.READ_INBOX: (
        "POST /business/webhook/delete/",
        "GET /business/webhook/list/",
        "POST /business/webhook/update/",
    ),
    Permission.READ_LEADS: (
        "GET /subscription/get/",
        "POST /subscription/subscribe/",
        "POST /subscription/unsubscribe/",
    ),
}
"""Routes of the API for an app: its secret, or an access token besides."""

_OTHER_CREDENTIALS: Final[Mapping[Credential, tuple[str, ...]]] = {
    Credential.VISITOR: (
        "POST /chat/{account_id}/form",
        "GET /chat/{account_id}/form/{page_id}",
        "GET /chat/{account_id}/messages",
        "POST /chat/{account_id}/messages",
        "POST /chat/{account_id}/photos",
        "GET /chat/{account_id}/photos/{message_id}",
        "POST /chat/{account_id}/read",
        "GET /chat/{account_id}/stream",
        "POST /chat/{account_id}/typing",
    ),
    Credential.ADDRESS: (
        "GET /form-pictures/{business_id}/{digest}",
        "GET /form/{token}",
        "POST /form/{token}",
        "GET /form/{token}/{page_id}",
        "GET /invitations/{token}",
        "POST /invitations/{token}",
        "GET /media",
        "GET /password/reset/{token}",
        "POST /password/reset/{token}",
        "GET /setup/{token}",
        "POST /setup/{token}",
        "GET /t/c/{token}",
        "GET /t/v/{token}",
    ),
    Credential.PLATFORM: (
        "POST /integrations/webhooks/{target_id}",
        "GET /webhooks/{platform}/{app_id}",
        "POST /webhooks/{platform}/{app_id}",
    ),
    Credential.ANYBODY: (
        "GET /chat/{account_id}",
        "GET /chat/{account_id}/embed",
        "GET /docs",
        "GET /language",
        *(f"{way} /login" for way in ("GET", "POST")),
        "GET /metrics",
        "POST /open_api/v1.3/oauth2/access_token/",
        "GET /openapi.json",
        "GET /password/forgotten",
        "POST /password/forgotten",
        *(f"GET /static/{owner}" for owner in asset_folders()),
    ),
}
"""Routes without a caller: why each is open stands with its kind."""


def _rows() -> Iterator[tuple[str, Access]]:
    for credential, prefix, table in (
        (Credential.MEMBER, "", _MEMBERS),
        (Credential.PROGRAM, _API, _PROGRAMS),
        (Credential.APP, _API, _APPS),
    ):
        for permission, routes in table.items():
            for method, path in (route.split() for route in routes):
                yield f"{method} {prefix}{path}", Access(credential, permission)
    yield "POST /delivery/decide", Access(Credential.PROGRAM, Permission.READ_ADS)
    for open_door, routes in _OTHER_CREDENTIALS.items():
        yield from ((route, Access(open_door)) for route in routes)


ACCESS: Final[Mapping[str, Access]] = dict(_rows())
"""What a caller needs, by method and path."""


SHOWS_CONTACTS: Final[Mapping[str, Look]] = {
    "GET /forms/{form_id}/answers": Look.FOLDED,
    "GET /forms/{form_id}/answers.csv": Look.EACH,
    "GET /inbox": Look.FOLDED,
    "GET /inbox/list": Look.FOLDED,
    "GET /inbox/search": Look.FOLDED,
    "GET /inbox/{conversation_id}": Look.FOLDED,
    "GET /inbox/{conversation_id}/contact": Look.FOLDED,
    "GET /inbox/{conversation_id}/photos/{message_id}": Look.FOLDED,
    "GET /inbox/{conversation_id}/thread": Look.FOLDED,
    "GET /leads": Look.FOLDED,
    "GET /leads.csv": Look.EACH,
    "GET /leads.xlsx": Look.EACH,
    "GET /leads/rows": Look.FOLDED,
    "GET /leads/views": Look.FOLDED,
    "GET /leads/{lead_id}": Look.EACH,
    "GET /leads/{lead_id}/answers": Look.EACH,
    "GET /leads/{lead_id}/erase": Look.EACH,
    "GET /leads/{lead_id}/merge/{other_id}": Look.EACH,
    "POST /leads/bulk": Look.EACH,
    "POST /leads/erase": Look.EACH,
    "POST /leads/erase/ask": Look.EACH,
    "GET /leads/import/{job_id}": Look.EACH,
    "GET /leads/jobs/{job_id}/rejects": Look.EACH,
    "POST /leads/merge/ask": Look.EACH,
    "GET /reports/conversions": Look.FOLDED,
    "GET /reports/conversions/{conversion_id}": Look.EACH,
    "GET /settings/integrations/{target_id}/dead/{delivery_id}": Look.EACH,
    "GET /settings/integrations/{target_id}/mapping": Look.EACH,
    f"GET {_API}/business/message/content/list/": Look.FOLDED,
    f"POST {_API}/business/message/media/download/": Look.EACH,
    f"GET {_API}/lead/get/": Look.EACH,
    f"GET {_API}/page/lead/mock/get/": Look.EACH,
    f"GET {_API}/page/lead/task/download/": Look.EACH,
}
"""Read audit of routes that show contact values, by method and path; names may contain contact values too."""


def may_open(permissions: Collection[str], href: str, method: str = "GET") -> bool:
    """Return whether a member with these permissions may follow a link of ours, or send a form.

    Templates ask this before they offer either. An address that is not ours, or no route, is not held back.
    """
    needed = _needed(method, href.partition("?")[0].partition("#")[0])
    return needed is None or needed in permissions


@lru_cache(maxsize=4_096)
def _needed(method: str, path: str) -> Permission | None:
    """Return the permission for an address; a fixed path takes precedence over one with an id."""
    match = next((access for pattern, access in _patterns(method) if pattern.fullmatch(path)), None)
    return match.permission if match is not None and match.credential is Credential.MEMBER else None


@cache
def _patterns(method: str) -> list[tuple[re.Pattern[str], Access]]:
    keys = sorted((key for key in ACCESS if key.startswith(f"{method} ")), key=lambda key: key.count("{"))
    return [(re.compile(re.sub(r"\{\w+\}", "[^/]+", key.partition(" ")[2])), ACCESS[key]) for key in keys]
