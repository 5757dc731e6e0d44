"""Hostile text through every field that a stranger or a member fills in, and the crawl of all screens."""

import json
import re
import time
import uuid
from dataclasses import replace
from html import escape
from typing import Final

from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.connectors import meta
from contatto.channels.model import ChannelApp, Platform
from contatto.inbox.actions.replies import keep_automatic
from contatto.inbox.actions.threads import add_private_note, keep_saved_reply, label_conversation
from contatto.inbox.model import AutomaticMessages, PreparedReply
from contatto.inbox.store.desk import ConversationFilter, list_conversations
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.leads.actions.annotations import add_note
from contatto.leads.model import Actor
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_leads
from tests.forms.edges import offer, send
from tests.forms.papers import kitchen
from tests.journeys.running import House, ad_group, message, until

NUMBER_ID: Final = "106540352242922"


def evil(field: str) -> str:
    """A text that runs a script wherever it is not escaped: in text, in an attribute, in a script."""
    return f"\"'><script id=x-{field}>pwned(1)</script><img src=x onerror=pwned(2)>{{{{7*7}}}}</textarea>"


def is_raw(page: str) -> bool:
    return "<script id=x-" in page or "<img src=x" in page or "{{49}}" in page


def shows(page: str, field: str) -> bool:
    return f"x-{field}&gt;" in page or escape(f"<script id=x-{field}>") in page


def send_everything(house: House) -> set[str]:
    """Send hostile text through every field; give the names of the fields."""
    _make_ad(house)
    _write_chat(house)
    _write_on_platforms(house)
    _fill_in_form(house)
    assert until(lambda: len(house.context.db.read_now(lambda tx: _talks(tx, house))) >= 3)
    read_now = house.context.db.read_now
    assert until(lambda: read_now(lambda tx: list_leads(tx, house.business_id, LeadFilter())))
    house.context.db.write_now(lambda tx: _write_as_member(tx, house))
    return {
        "chat", "stated", "profile", "platform", "headline", "adtext", "answer", "essay",
        "formtitle", "question", "option", "consent", "note", "leadnote", "saved", "welcome", "prompt",
        "campaign", "adname",
    }  # fmt: skip


def _make_ad(house: House) -> None:
    """An ad whose names are hostile, with its campaign."""
    campaign = house.data("POST", "/campaign/create/", campaign_name=evil("campaign")[:200],
                          objective_type="LEAD_GENERATION")["campaign_id"]  # fmt: skip
    group = house.data("POST", "/adgroup/create/", **ad_group(campaign, "LEAD_GENERATION", house.webchat_id))
    creative = {"ad_name": evil("adname"), "ad_text": evil("adbody")[:100], "ad_format": "SINGLE_VIDEO",
                "call_to_action": "SEND_MESSAGE", "auto_message_id": house.first_message(),
                "identity_type": "TT_USER", "identity_id": house.webchat_id}  # fmt: skip
    house.data("POST", "/ad/create/", adgroup_id=group["adgroup_id"], creatives=[creative])


def _write_chat(house: House) -> None:
    house.client.get(f"/chat/{house.webchat_id}")
    for text in (evil("chat"), f"my name is Mei, mail mei@example.com {evil('stated')}"):
        body = {"client_message_id": str(uuid.uuid4()), "text": text}
        assert house.client.post(f"/chat/{house.webchat_id}/messages", json=body).status_code == 200


def _write_on_platforms(house: House) -> None:
    now_s = int(time.time())
    said = message(evil("platform"), "u1", now_s * 1_000) | {"from": evil("profile")[:120]}
    assert house.webhook("im_receive_msg", said).status_code == 200

    def connect(tx: Tx) -> None:
        account = NewAccount(Platform.WHATSAPP, NUMBER_ID, "Kopi WA", "kopi", "SG")
        connect_account(tx, house.business_id, account)
        register_app(tx, ChannelApp("wa-app", house.business_id, Platform.WHATSAPP, "wa-secret"))

    house.context.db.write_now(connect)
    referral = {"source_type": "ad", "source_id": "120208", "ctwa_clid": evil("click"),
                "headline": evil("headline"), "body": evil("adtext")}  # fmt: skip
    value = {
        "metadata": {"phone_number_id": NUMBER_ID},
        "contacts": [{"wa_id": "6591234567", "profile": {"name": evil("profile")[:120]}}],
        "messages": [{"id": "wamid.1", "from": "6591234567", "timestamp": str(now_s), "type": "text",
                      "text": {"body": evil("platform")}, "referral": referral}],
    }  # fmt: skip
    changes = [{"field": "messages", "value": value}]
    raw = json.dumps({"object": "whatsapp_business_account", "entry": [{"changes": changes}]})
    headers = {"X-Hub-Signature-256": meta.sign_body(raw.encode(), "wa-secret")}
    assert house.client.post("/webhooks/whatsapp/wa-app", content=raw, headers=headers).status_code == 200


def _fill_in_form(house: House) -> None:
    of = kitchen()
    words = {**of.words["en"], "headline": evil("formtitle"), "q4.label": evil("question"),
             "q1.option.a": evil("option"), "c1.text": evil("consent")}  # fmt: skip
    version = offer(house, replace(of, words={**of.words, "en": words}))
    answers = {
        "q1": "a",
        "q2": ["b"],
        "q4": evil("answer")[:120],
        "q5": "mei@example.com",
        "q8": evil("essay"),
    }
    answer = send(house, version, answers)
    assert answer.status_code == 200, answer.text


def _talks(tx: Tx, house: House) -> list[str]:
    return [each.id for each in list_conversations(tx, house.business_id, ConversationFilter())]


def _write_as_member(tx: Tx, house: House) -> None:
    actor = Actor(house.business_id, new_id(), evil("member"))
    for conversation_id in _talks(tx, house):
        add_private_note(tx, actor, conversation_id, new_id(), evil("note"))
        label_conversation(tx, actor, conversation_id, evil("l")[:40])
    for lead in list_leads(tx, house.business_id, LeadFilter()):
        add_note(tx, actor, lead.id, evil("leadnote"))
    keep_saved_reply(tx, house.business_id, "evil", evil("saved"))
    said = AutomaticMessages(welcome=evil("welcome"), prompts=(PreparedReply("x", evil("prompt")),))
    keep_automatic(tx, house.business_id, house.webchat_id, said, 0)


_LINK: Final = re.compile(r'(?:href|hx-get|action)="(/[^"#]*)"')
_LEFT_OUT: Final = re.compile(r"/static/|/logout|/live|\.csv|\.xlsx|/csv|/xlsx|/remove|/retry|/docs")


def crawl(house: House, most: int = 160) -> dict[str, str]:
    """Every screen that can be reached from the first ones, by its address, as HTML."""
    seen: dict[str, str] = {}
    shapes: set[str] = set()
    waiting = ["/inbox", "/leads", "/ads", "/forms", "/reports", "/settings", f"/chat/{house.webchat_id}"]
    while waiting and len(seen) < most:
        path = waiting.pop(0).replace("&amp;", "&")
        shape = path.partition("?")[0]
        if shape in shapes or _LEFT_OUT.search(path):
            continue
        shapes.add(shape)
        answer = house.client.get(path)
        if answer.status_code != 200 or "text/html" not in answer.headers.get("content-type", ""):
            continue
        seen[path] = answer.text
        waiting += _LINK.findall(answer.text)
    return seen
