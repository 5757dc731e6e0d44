"""Which routes show contact values of people: looks through them are in the audit log.

A test asks every route for what it shows, so none is forgotten. What a route opens without being named here
is written down all the same.
"""

from collections.abc import Mapping
from typing import Final

from contatto.audit.model import Look

_API: Final = "/open_api/v1.3"
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
"""By method and path. People put contact details into their names, so a page of names is one of these."""
