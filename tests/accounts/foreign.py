"""Another business as the tests know it: its ids, and what each door of the API is sent with them."""

from dataclasses import dataclass
from typing import Any

from tests.journeys.running import ad_group

GUESSED_APP = {"app_id": "their-app", "secret": "guessed"}
THEIR_APP = {"app_id": "their-app", "secret": "their secret"}


@dataclass(frozen=True, slots=True)
class Theirs:
    """Ids of another business, by the names that routes and bodies give them."""

    path: dict[str, str]
    advertiser_id: str
    campaign_id: str
    adgroup_id: str
    ad_id: str
    channel_id: str
    page_id: str
    lead_number: str
    subscription_id: str
    secret_words: tuple[str, ...]


def ids_of(theirs: Theirs) -> dict[str, Any]:
    """What any other POST of the API is sent."""
    named = {"campaign_id": theirs.campaign_id, "adgroup_id": theirs.adgroup_id, "ad_id": theirs.ad_id,
             "channel_account_id": theirs.channel_id, "identity_id": theirs.channel_id}  # fmt: skip
    listed = {f"{name}s": [value] for name, value in named.items()}
    return named | listed | {"campaign_name": "X", "adgroup_name": "X", "ad_name": "X", "budget": 60}


def bodies(theirs: Theirs, own: str, token: str) -> dict[str, dict[str, Any]]:
    """What each POST of the API is sent, with ids of the other business."""
    creative = {"ad_name": "X", "ad_text": "X", "call_to_action": "SEND_MESSAGE"}
    move = {"operation_status": "DISABLE"}
    of_them = {"business_id": "tt-theirs", "auto_message_type": "SUGGESTED_QUESTION"}
    question = {"suggested_question": {"question": "X", "answer": "X"}}
    return {
        "/campaign/create/": {"campaign_name": "X", "objective_type": "LEAD_GENERATION"},
        "/campaign/status/update/": move | {"campaign_ids": [theirs.campaign_id]},
        "/adgroup/create/": ad_group(theirs.campaign_id, "LEAD_GENERATION", own),
        "/adgroup/status/update/": move | {"adgroup_ids": [theirs.adgroup_id]},
        "/ad/create/": {"adgroup_id": theirs.adgroup_id, "creatives": [creative]},
        "/ad/status/update/": move | {"ad_ids": [theirs.ad_id]},
        "/term/confirm/": {"term_type": "LeadAds"},
        "/contatto/capture/turn_on/": {"channel_account_id": theirs.channel_id},
        "/contatto/capture/turn_off/": {"channel_account_id": theirs.channel_id},
        "/subscription/subscribe/": THEIR_APP
        | {
            "subscribe_entity": "LEAD",
            "callback_url": "https://example.com/x",
            "subscription_detail": {"access_token": token, "advertiser_id": theirs.advertiser_id},
        },
        "/subscription/unsubscribe/": THEIR_APP | {"subscription_id": theirs.subscription_id},
        "/event/track/": {
            "event_source": "crm",
            "event_source_id": "1",
            "data": [{"event": "qualified", "event_time": 1, "lead": {"lead_id": theirs.lead_number}}],
        },
        "/crm/create/": {"name": "X"},
        "/business/webhook/update/": GUESSED_APP | {"callback_url": "https://example.com/x"},
        "/business/webhook/delete/": GUESSED_APP,
        "/business/message/send/": of_them
        | {
            "recipient": theirs.path["conversation_id"],
            "message_type": "TEXT",
            "text": {"body": "X"},
        },
        "/business/message/auto_message/create/": of_them | question,
        "/business/message/auto_message/update/": of_them | question | {"auto_message_id": "1"},
        "/business/message/auto_message/delete/": of_them | {"auto_message_id": "1"},
        "/business/message/auto_message/sort/": of_them | {"auto_message_id": "1"},
        "/business/message/auto_message/status/update/": of_them | {"operation_status": "DISABLE"},
        "/page/lead/task/": {"ad_id": theirs.ad_id},
        "/page/lead/mock/create/": {"page_id": theirs.page_id},
        "/page/lead/mock/delete/": {"lead_id": theirs.lead_number},
    }


OWN_ALONE = {"/campaign/create/", "/term/confirm/", "/crm/create/"}
"""They take no other id than the advertiser_id: with one's own they do what they are asked."""

THEIR_CHAT = {"business_id": "tt-theirs", "conversation_id": "conversation of u1"}
QUERIES: dict[str, dict[str, Any]] = {
    "/report/integrated/get/": {
        "service_type": "AUCTION", "report_type": "BASIC", "data_level": "AUCTION_ADGROUP",
        "dimensions": ["adgroup_id"], "query_lifetime": "True", "metrics": ["spend"],
    },
    "/contatto/eligibility/check/": {"location_ids": ["1880251"]},
    "/dmp/custom_audience/get/": {"custom_audience_ids": ["1"]},
    "/report/task/check/": {"task_id": "1"},
    "/report/task/download/": {"task_id": "1"},
    "/term/check/": {"term_type": "LeadAds"},
    "/subscription/get/": THEIR_APP,
    "/business/webhook/list/": THEIR_APP,
    "/business/message/conversation/list/": THEIR_CHAT | {"conversation_type": "STRANGER"},
    "/business/message/content/list/": THEIR_CHAT,
    "/business/message/capabilities/get/": THEIR_CHAT | {"capability_types": ["IMAGE_SEND"]},
    "/business/message/auto_message/get/": THEIR_CHAT | {"auto_message_type": "CHAT_PROMPT"},
    "/page/field/get/": {"page_id": "1"},
    "/page/lead/mock/get/": {"page_id": "1"},
    "/page/lead/task/download/": {"task_id": "1"},
    "/lead/field/get/": {"page_id": "1", "lead_source": "INSTANT_FORM"},
    "/lead/get/": {"page_id": "1", "lead_source": "INSTANT_FORM"},
}  # fmt: skip
