"""What the log keeps of a request, how entries are chained, and what a look has shown."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from contatto.audit.model import AuditEntry
from contatto.kit.i18n import N_

API_PREFIX: Final = "/open_api/v1.3"
OBJECT_KEYS: Final = frozenset({
    "account_id", "ad_id", "ad_ids", "adgroup_id", "adgroup_ids", "advertiser_id", "app_id", "audience_id",
    "auto_message_id", "conversation_id", "failed_id", "form_id", "merge_id", "other_id", "point_id",
    "token_id", "campaign_id", "campaign_ids", "channel_account_id", "conversion_id", "custom_audience_id",
    "custom_audience_ids", "event_set_id", "event_source_id", "identity_id", "lead_id", "member_id",
    "page_id", "smart_plus_ad_id", "smart_plus_ad_ids", "subscription_id", "task_id",
})  # fmt: skip
"""The fields of requests that name an object; no other field is ever kept in the audit log."""
MOST_OBJECTS: Final = 20
MOST_SEEN: Final = 200
"""Ids of one kind that an entry names; a page shows fewer."""
_OBJECT_ID: Final = re.compile(r"(?!\d{6,15}\Z)[A-Za-z0-9_-]{1,64}", re.ASCII)
"""Ids of ours. A number of six to fifteen digits is none, and may be a phone number."""
_SEEN: Final = re.compile(r"(?P<kind>\w+)=(?P<count>\d+)\[(?P<ids>[^\]]*)\]", re.ASCII)


SENTENCES: Final[Mapping[str, str]] = {
    "POST /login": N_("Logged in"),
    "POST /logout": N_("Logged out"),
    "POST /setup/": N_("Set up the installation"),
    "POST /switch": N_("Switched business"),
    "POST /invitations/": N_("Accepted an invitation"),
    **dict.fromkeys(("POST /password/reset/", "POST /settings/profile/password"), N_("Chose a new password")),
    "POST /settings/alerts": N_("Changed own alerts"),
    "POST /settings/profile": N_("Changed own profile"),
    "POST /settings/profile/sessions/": N_("Ended own sessions"),
    **dict.fromkeys(
        ("GET /inbox", "GET /business/message/", "POST /business/message/media/download/"),
        N_("Viewed chats"),
    ),
    "POST /inbox/{conversation_id}/assign": N_("Assigned a chat"),
    "POST /inbox/{conversation_id}/block": N_("Blocked a person"),
    "POST /inbox/{conversation_id}/unblock": N_("Unblocked a person"),
    "POST /inbox/{conversation_id}/forms": N_("Sent a form in a chat"),
    "POST /inbox/{conversation_id}/labels": N_("Labelled a chat"),
    "POST /inbox/{conversation_id}/labels/{label_id}/remove": N_("Removed a label from a chat"),
    **dict.fromkeys(
        (
            "POST /inbox/{conversation_id}/messages",
            "POST /inbox/{conversation_id}/typing",
            "POST /business/message/send/",
        ),
        N_("Wrote to a customer"),
    ),
    **dict.fromkeys(
        ("POST /inbox/{conversation_id}/photos", "POST /business/message/media/upload/"),
        N_("Sent a photo to a customer"),
    ),
    "POST /inbox/{conversation_id}/notes": N_("Added a private note to a chat"),
    "POST /inbox/{conversation_id}/read": N_("Read a chat"),
    "POST /inbox/{conversation_id}/reopen": N_("Reopened a chat"),
    "POST /inbox/{conversation_id}/resolve": N_("Resolved a chat"),
    "POST /inbox/{conversation_id}/snooze": N_("Snoozed a chat"),
    "POST /inbox/{conversation_id}/scheduled": N_("Scheduled a message"),
    "POST /inbox/{conversation_id}/scheduled/{reply_id}/cancel": N_("Cancelled a scheduled message"),
    "POST /inbox/{conversation_id}/lead": N_("Marked a chat as a lead"),
    "POST /settings/replies": N_("Changed saved replies"),
    "GET /forms/": N_("Viewed form answers"),
    "GET /forms/{form_id}/answers.csv": N_("Downloaded form answers"),
    **dict.fromkeys(("GET /leads", "GET /lead/", "GET /page/lead/mock/"), N_("Viewed leads")),
    "GET /leads/{lead_id}": N_("Viewed a lead"),
    **dict.fromkeys(("GET /leads.", "GET /page/lead/", "POST /page/lead/"), N_("Downloaded leads")),
    **dict.fromkeys(("GET /leads/import", "GET /leads/jobs"), N_("Viewed an import")),
    "POST /leads/import": N_("Imported leads"),
    "POST /leads/bulk": N_("Changed several leads"),
    "POST /leads/erase": N_("Erased people"),
    **dict.fromkeys(("POST /leads/merge", "POST /leads/{lead_id}/merge/"), N_("Merged leads")),
    "POST /leads/views": N_("Changed saved views"),
    "POST /leads/jobs/": N_("Undid a change of several leads"),
    "POST /leads/{lead_id}/labels": N_("Labelled a lead"),
    "POST /leads/{lead_id}/labels/{label_id}/remove": N_("Removed a label from a lead"),
    "POST /leads/{lead_id}/merges/": N_("Undid a merge"),
    "POST /leads/{lead_id}/notes": N_("Changed the notes of a lead"),
    "POST /leads/{lead_id}/owner": N_("Changed the owner of a lead"),
    "POST /leads/{lead_id}/points": N_("Changed contact details of a lead"),
    "POST /leads/{lead_id}/points/{point_id}/reject": N_("Removed a detected contact detail"),
    "POST /leads/{lead_id}/rejected/": N_("Restored a contact detail"),
    "POST /leads/{lead_id}/restore": N_("Restored a lead"),
    "POST /leads/{lead_id}/status": N_("Changed the status of a lead"),
    "POST /leads/{lead_id}/tasks": N_("Changed the tasks of a lead"),
    **dict.fromkeys(
        (
            "POST /ads/",
            "POST /ad/",
            "POST /adgroup/",
            "POST /campaign/",
            "POST /creative/",
            "POST /smart_plus/",
            "POST /identity/",
            "POST /term/",
            "POST /delivery/",
        ),
        N_("Changed ads"),
    ),
    **dict.fromkeys(("POST /ads/audiences", "POST /dmp/"), N_("Changed audiences")),
    **dict.fromkeys(("POST /ads/drafts/", "PUT /ads/drafts/"), N_("Changed a draft of an ad")),
    "POST /forms": N_("Changed forms"),
    "GET /reports/conversions": N_("Viewed conversions"),
    "POST /reports/saved": N_("Changed saved reports"),
    "POST /settings/ad-platforms": N_("Changed external ad accounts"),
    "POST /settings/ad-accounts": N_("Changed ad accounts"),
    "POST /settings/marketplaces": N_("Joined or left a marketplace"),
    "POST /operator/": N_("Changed own marketplace"),
    "POST /settings/auth-codes": N_("Created an auth code"),
    **dict.fromkeys(("POST /settings/capture/", "POST /contatto/capture/"), N_("Changed lead capture")),
    "POST /settings/channels/accounts": N_("Connected a channel account"),
    "POST /settings/channels/accounts/{account_id}/correct": N_("Edited a channel account"),
    "POST /settings/channels/accounts/{account_id}/disconnect": N_("Disconnected a channel account"),
    "POST /settings/channels/accounts/{account_id}/sites": N_("Changed the allowed sites of a chat"),
    "POST /settings/channels/accounts/{account_id}/token": N_(
        "Replaced the access token of a channel account"
    ),
    "POST /settings/channels/apps": N_("Registered an app of a platform"),
    **dict.fromkeys(
        ("POST /settings/chat/", "POST /business/message/auto_message/"), N_("Changed automatic messages")
    ),
    "POST /settings/inbox": N_("Changed the reply target"),
    **dict.fromkeys(
        ("POST /settings/integrations/", "POST /integrations/", "POST /crm/"), N_("Changed a CRM connection")
    ),
    "GET /settings/integrations/": N_("Viewed a CRM connection"),
    "POST /settings/invitations": N_("Invited a colleague"),
    "POST /settings/invitations/": N_("Cancelled an invitation"),
    "POST /settings/jobs/": N_("Retried or dismissed failed jobs"),
    "POST /settings/members/{member_id}/deactivate": N_("Deactivated a member"),
    "POST /settings/members/{member_id}/reactivate": N_("Reactivated a member"),
    "POST /settings/members/{member_id}/reset": N_("Created a password reset link"),
    "POST /settings/members/{member_id}/role": N_("Changed a member's role"),
    **dict.fromkeys(
        (
            "POST /settings/subscriptions",
            "POST /business/webhook/",
            "POST /contatto/hook/",
            "POST /subscription/",
        ),
        N_("Changed webhook subscriptions"),
    ),
    **dict.fromkeys(("POST /settings/tokens", "POST /oauth2/"), N_("Created an API token")),
    "POST /settings/tokens/": N_("Revoked an API token"),
    "POST /page/lead/mock/": N_("Changed a test lead"),
    "POST /event/": N_("Sent lead outcomes to an ad platform"),
    "POST /report/": N_("Exported a report"),
    "contatto ": N_("Ran an operator command"),
}
"""What was done, in words, by how an act begins; the longest that fits says it."""


def act_text(act: str) -> str:
    """What was done, in words to be translated; empty for an act that nobody has put into words."""
    fits = [start for start in SENTENCES if act.startswith(start)]
    return SENTENCES[max(fits, key=len)] if fits else ""


def act_of(method: str, route: str) -> str:
    """What was done, as the log says it: the operation of the API, or the route of a page."""
    return f"{method} {route.removeprefix(API_PREFIX)}"


def objects_of(fields: Mapping[str, Any]) -> str:
    """The ids that a request names, as ``name=id`` with spaces between them."""
    found: list[str] = []
    for name in sorted(OBJECT_KEYS & set(fields)):
        value = fields[name]
        for each in value if isinstance(value, list) else [value]:
            text = str(each) if isinstance(each, (str, int)) and not isinstance(each, bool) else ""
            if _OBJECT_ID.fullmatch(text):
                found.append(f"{name}={text}")
    return " ".join(found[:MOST_OBJECTS])


def seen_text(counts: Mapping[str, int], fresh: Mapping[str, Sequence[str]]) -> str:
    """What a look has shown, such as ``lead_id=50[id,id]``: how many, and which of them are new."""
    named = ((kind, count, ",".join(fresh.get(kind, ())[:MOST_SEEN])) for kind, count in counts.items())
    return " ".join(f"{kind}={count}[{ids}]" for kind, count, ids in named)


def read_seen(text: str) -> dict[str, tuple[int, list[str]]]:
    """How many a look has shown of each kind, and the ids that it names."""
    found = filter(None, map(_SEEN.fullmatch, text.split()))
    return {each["kind"]: (int(each["count"]), list(filter(None, each["ids"].split(",")))) for each in found}


def entry_digest(entry: AuditEntry) -> str:
    """The digest of an entry and of all before it."""
    at = entry.at.isoformat(timespec="microseconds")
    parts = (
        entry.before, entry.business_id, at, entry.actor_id, entry.actor, entry.act, entry.object,
        entry.request_id, *([entry.seen] if entry.seen else []),
    )  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


def chain_holds(entries: Sequence[AuditEntry]) -> bool:
    """Whether entries in a row, oldest first, are as they were written, with none missing between them."""
    linked = all(later.before == earlier.digest for earlier, later in pairwise(entries))
    return linked and all(entry.digest == entry_digest(entry) for entry in entries)
