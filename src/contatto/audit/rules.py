"""What the log keeps of a request, how entries are chained, and what a look has shown."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from contatto.audit.model import AuditEntry

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
