"""One tenant's data, made through the real doors: something in every table that a tenant can have rows in."""

import asyncio
import hashlib
import json
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import UTC, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx2
from PIL import Image
from sqlalchemy import select

from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount, NewMember
from contatto.accounts.model import BusinessId, Permission, Role
from contatto.capture.actions import CompanyData, turn_on_capture
from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.connectors import meta
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelApp, Platform
from contatto.forms.model import FormConsent, Hours, QuestionKind
from contatto.forms.rules.answers import show_slots
from contatto.kit.db.tx import FixedClock, Tx, metadata
from tests import postgres
from tests.background import do_all_due
from tests.failing import fail_job, fail_push
from tests.forms.papers import content, published, question
from tests.journeys.running import PASSWORD, ad_group, message, weak_hash, webhook_body
from tests.security.elsewhere import fill_ads_elsewhere, fill_signals, tap_elsewhere
from tests.security.ids import ids_of
from tests.security.invited import found_in, links_of_people
from tests.security.linked import erase_lead, fill_crm, keep_refusal, try_crm
from tests.security.placed import fill_marketplace
from tests.security.serving_ads import fill_delivery
from tests.security.world import ALL_SCOPES, Built, Tenant, World, running_world


def picture(of: str) -> bytes:
    """A small picture that no other text gives."""
    colour = hashlib.sha256(of.encode()).digest()
    out = BytesIO()
    Image.new("RGB", (30, 20), (colour[0], colour[1], colour[2])).save(out, "PNG")
    return out.getvalue()


def settle(world: World) -> None:
    """Do what the background would do by now, sending aside: nothing leaves this machine."""

    async def work() -> None:
        while await do_all_due(world.context.db, world.context.installation):
            pass

    asyncio.run(work())


def make_tenant(world: World, word: str, digit: int) -> Tenant:
    """A new business with members of each role, tokens, channels and capture; it has no data yet."""
    roles = {role: f"{role}@{word}.example.com" for role in Role}
    # The id of an app is its platform's, and whoever likes may name it: it has no word that would tell of us.
    open_id, app_id, secret = f"tt-{word}", f"app-{digit}00{digit}", f"secret of {word}"
    company = CompanyData(f"{word} Ltd", f"https://{word}.example.com", f"https://{word}.example.com/privacy")
    hashed = weak_hash(PASSWORD)

    def build(tx: Tx) -> dict[str, Any]:
        business = accounts.create_business(tx, f"{word} Ltd").id
        new_members = [NewMember(email, f"{role} {word}", role) for role, email in roles.items()]
        members = {each.role: accounts.add_member(tx, business, each, hashed).id for each in new_members}
        new = NewAdAccount(f"{word} main", "SG", "SGD", "Asia/Singapore")
        number = accounts.add_ad_account(tx, business, new).number
        webchat = connect_account(tx, business, NewAccount(Platform.WEBCHAT, "", f"{word} chat", word, "SG"))
        tiktok = connect_account(tx, business, NewAccount(Platform.TIKTOK, open_id, f"{word} tt", word, "SG"))
        for account in (webchat, tiktok):
            turn_on_capture(tx, business, account.id, company)
        connect_account(tx, business, NewAccount(Platform.WHATSAPP, f"wa-{word}", f"{word} wa", word, "SG"))
        register_app(tx, ChannelApp(app_id, business, Platform.TIKTOK, secret))
        register_app(tx, ChannelApp(f"{app_id}-wa", business, Platform.WHATSAPP, secret))
        scopes = {permission.value: [permission.value] for permission in Permission}
        scopes |= {ALL_SCOPES: [permission.value for permission in Permission]}
        tokens = {
            name: accounts.issue_token(tx, BusinessId(business), f"{word} {name}", wanted)[1]
            for name, wanted in scopes.items()
        }
        return {"business_id": business, "advertiser_id": str(number), "webchat_id": webchat.id,
                "members": members, "tokens": tokens}  # fmt: skip

    made = world.context.db.write_now(build)
    return Tenant(
        word=word,
        open_id=open_id,
        app_id=app_id,
        app_secret=secret,
        phones=tuple(f"8{digit}55{number}{digit}7{number}" for number in range(5)),
        sessions={role: world.log_in(email, PASSWORD) for role, email in roles.items()},
        visitor=world.open_chat(made["webchat_id"]),
        links={},
        **made,
    )


HOURS = Hours("Asia/Singapore", (1, 2, 3, 4, 5, 6, 7), "09:00", "12:00", 60, 7)
"""Appointments that the form of each tenant offers."""


@dataclass
class Filling:
    """Fills a tenant by what its owner, its programs, its platform and its customers do."""

    world: World
    of: Tenant
    made: dict[str, Any] = field(default_factory=dict)

    def data(self, method: str, path: str, **values: Any) -> Any:
        values.setdefault("advertiser_id", self.of.advertiser_id)
        envelope = self.world.api(method, path, self.of.token, **values)
        assert envelope["code"] == 0, envelope
        return envelope["data"]

    def press(self, path: str, method: str = "POST", **sent: Any) -> httpx2.Response:
        """What a form of a page of ours sends."""
        answer = self.world.ask(method, path, session=self.of.owner, **sent)
        assert answer.status_code in (200, 204, 303), (
            path,
            answer.status_code,
            unquote(answer.headers.get("x-message", "")),
        )
        return answer

    def ids(self, name: str) -> tuple[str, ...]:
        return self.world.context.db.read_now(lambda tx: ids_of(tx, self.of.business_id))[name]

    def run(self) -> None:
        self.audiences()
        self.ads()
        self.settings()
        fill_ads_elsewhere(self.press, self.of)
        fill_signals(self.press, self.ids("outside_id")[0], self.world, self.of)
        fill_crm(self.world, self.of)
        self.forms()
        self.chats()
        settle(self.world)
        self.form_answers()
        self.inbox()
        settle(self.world)
        self.leads()
        self.reports()
        self.programs()
        settle(self.world)
        erase_lead(self.press, self.rows("leads", "id", "name_key"))
        settle(self.world)
        try_crm(self.press, self.ids("target_id")[0], self.rows("leads", "id", "hidden_at"))
        keep_refusal(self.press, self.of, self.made["ad_group"])
        for _ in range(2):
            fail_job(self.world.context.db, self.of.business_id)
            failed = f"https://{self.of.word}.example.com/failed"
            fail_push(self.world.context.db, self.of.business_id, failed)
        self.of.ids.update(self.world.context.db.read_now(lambda tx: ids_of(tx, self.of.business_id)))

    def audiences(self) -> None:
        digest = "".join(f"{ord(letter):02x}" for letter in self.of.word).ljust(64, "0")[:64]
        sent = {
            "data": {"advertiser_id": self.of.advertiser_id, "calculate_type": "EMAIL_SHA256"},
            "files": {"file": ("list.csv", digest.encode(), "text/csv")},
        }
        path = "/open_api/v1.3/dmp/custom_audience/file/upload/"
        envelope = self.world.ask("POST", path, token=self.of.token, **sent).json()
        new = {"custom_audience_name": f"{self.of.word} regulars", "calculate_type": "EMAIL_SHA256",
               "file_paths": [envelope["data"]["file_path"]]}  # fmt: skip
        self.made["audience"] = self.data("POST", "/dmp/custom_audience/create/", **new)["custom_audience_id"]
        page = self.world.ask("GET", "/ads/audiences/lookalikes/new", session=self.of.owner).text
        once = found_in(r'name="once" value="([^"]+)"', page)
        source = self.made["audience"]
        form = {"once": once, "name": f"{self.of.word} likes", "size": "NARROW", "source": source}
        self.press("/ads/audiences/lookalikes", data=form)
        self.world.ask("POST", path, token=self.of.token, **sent)  # a file that no audience took yet

    def ads(self) -> None:
        word, chat = self.of.word, self.of.webchat_id
        campaign = self.data("POST", "/campaign/create/", campaign_name=f"{word} campaign",
                             objective_type="LEAD_GENERATION")["campaign_id"]  # fmt: skip
        group = ad_group(campaign, "LEAD_GENERATION", chat) | {"adgroup_name": f"{word} group"}
        group_id = self.data("POST", "/adgroup/create/", **group)["adgroup_id"]
        welcome = {"title": f"{word} hello", "content": f"{word} welcomes you",
                   "suggested_questions": [{"question": f"{word}?", "answer": f"{word}!"}]}  # fmt: skip
        new = {"auto_message_type": "WELCOME_MESSAGE", "welcome_message": welcome}
        self.data("POST", "/creative/auto_message/create/", **new)
        messages = self.data("GET", "/creative/auto_message/get/")["list"]
        creative = {"ad_name": f"{word} ad", "ad_text": f"Write to {word}", "ad_format": "SINGLE_VIDEO",
                    "call_to_action": "SEND_MESSAGE", "auto_message_id": messages[0]["auto_message_id"],
                    "identity_type": "TT_USER", "identity_id": chat}  # fmt: skip
        ads = self.data("POST", "/ad/create/", adgroup_id=group_id, creatives=[creative])["ad_ids"]
        self.made |= {"campaign": campaign, "ad_group": group_id, "ad": ads[0]}
        request = {"request_id": str(uuid.uuid4().int)[:18], "campaign_name": f"{word} smart",
                   "objective_type": "LEAD_GENERATION"}  # fmt: skip
        self.data("POST", "/smart_plus/campaign/create/", **request)
        self.data("POST", "/term/confirm/", term_type="LeadAds")
        self.press(f"/ads/drafts/ads/{group_id}", "PUT", data={"name": f"{word} draft", "text": word})

    def settings(self) -> None:
        word = self.of.word
        for account in set(self.ids("account_id")) - {self.of.webchat_id}:
            self.press(f"/settings/channels/accounts/{account}/token", data={"access_token": f"{word}-at"})
        of_chat = f"/settings/channels/accounts/{self.of.webchat_id}"
        self.press(f"{of_chat}/sites", data={"sites": f"https://{word}.example.com"})
        question = {"business_id": self.of.open_id, "auto_message_type": "SUGGESTED_QUESTION",
                    "suggested_question": {"question": f"{word}?", "answer": f"{word}!"}}  # fmt: skip
        self.data("POST", "/business/message/auto_message/create/", **question)
        self.press("/settings/replies", data={"shortcut": word, "text": f"{word} says hello"})
        self.press("/settings/inbox", data={"minutes": "30"})
        self.of.links.update(links_of_people(self.press, word, self.of.members[Role.AGENT]))
        self.press("/settings/auth-codes", data={"name": f"{word} program", "scopes": "ads.read"})
        subscribed = {
            "app_id": self.of.app_id, "secret": self.of.app_secret, "subscribe_entity": "LEAD",
            "callback_url": f"https://{word}.example.com/push",
            "subscription_detail": {"access_token": self.of.token, "advertiser_id": self.of.advertiser_id,
                                    "lead_source": "DIRECT_MESSAGE"},
        }  # fmt: skip
        self.data("POST", "/subscription/subscribe/", **subscribed)

    def forms(self) -> None:
        word = self.of.word
        builder = self.press("/forms", data={"name": f"{word} plan", "language": "en"}).headers["location"]
        raw = {"content": picture(f"form of {word}"), "headers": {"Content-Type": "image/png"}}
        image = self.press(f"{builder}/photos", **raw).json()["image"]
        asked = content(
            question("q1", QuestionKind.EMAIL, required=True),
            question("q2", QuestionKind.LONG_TEXT, high=500),
            question("q3", QuestionKind.APPOINTMENT, hours=HOURS),
            consents=(FormConsent("c1", required=True),),
            image=image,
        )
        words = asked.words["en"] | {"headline": f"{word} asks", "c1.text": f"{word} may write to me."}
        of = replace(asked, words={"en": words})
        version = self.world.context.db.write_now(
            lambda tx: published(tx, self.of.business_id, of, f"{word} form")
        )
        self.made |= {"form": version.form_id, "page": str(version.number)}
        self.press(f"/forms/defaults/{self.of.webchat_id}", data={"form_id": version.form_id})

    def chats(self) -> None:
        """A visitor of our page who saw and tapped an ad, and people on the platform."""
        word, phones = self.of.word, self.of.phones
        fill_delivery(self.world, self.of)
        fill_marketplace(self.world, self.of)
        visitor = self.of.visitor
        chat = f"/chat/{self.of.webchat_id}"
        said = {"client_message_id": str(uuid.uuid4()), "text": f"{word} here, call me at +65 {phones[0]}"}
        assert self.world.ask("POST", f"{chat}/messages", visitor=visitor, json=said).status_code == 200
        named = {"client_message_id": str(uuid.uuid4())}
        raw = {"content": picture(f"chat of {word}"), "headers": {"Content-Type": "image/png"}}
        answer = self.world.ask("POST", f"{chat}/photos", visitor=visitor, params=named, **raw)
        assert answer.status_code == 200, answer.text
        self.write_on_whatsapp()
        for number, phone in enumerate(phones[1:]):
            self.webhook("im_receive_msg", f"{word}{number}", f"my number is +65 {phone}, says {word}")

    def webhook(self, event: str, user: str, text: str) -> None:
        now = self.world.context.clock.now()
        said = message(text, user, int(now.timestamp() * 1_000))
        taps = {"0": {"ad_id": self.made["ad"]}, "1": tap_elsewhere(self.of)}
        if user[-1] in taps:
            referral = {"source": "ad", "ad": taps[user[-1]]}
            tapped = {key: said[key] for key in ("from", "from_user", "conversation_id", "timestamp")}
            self.deliver("im_referral_msg", tapped | {"referral": referral})
        self.deliver(event, said)

    def deliver(self, event: str, content: dict[str, Any]) -> None:
        body = webhook_body(event, content, self.of.open_id)
        now = int(self.world.context.clock.now().timestamp())
        headers = {"TikTok-Signature": sign_body(body, self.of.app_secret, now)}
        answer = self.world.ask("POST", f"/webhooks/tiktok/{self.of.app_id}", content=body, headers=headers)
        assert answer.status_code == 200, answer.text

    def write_on_whatsapp(self) -> None:
        """A message after a tap on an ad of WhatsApp, which tells what the ad said."""
        word = self.of.word
        referral = {"source_type": "ad", "source_id": "120208", "ctwa_clid": word,
                    "headline": f"{word} offers", "body": f"{word} has it"}  # fmt: skip
        said = {"id": f"wamid.{word}", "from": f"65{self.of.phones[4]}", "type": "text",
                "timestamp": str(int(self.world.context.clock.now().timestamp())),
                "text": {"body": f"{word}?"}, "referral": referral}  # fmt: skip
        value = {"metadata": {"phone_number_id": f"wa-{word}"}, "messages": [said],
                 "contacts": [{"wa_id": f"65{self.of.phones[4]}", "profile": {"name": word}}]}  # fmt: skip
        changes = [{"field": "messages", "value": value}]
        raw = json.dumps({"object": "whatsapp_business_account", "entry": [{"changes": changes}]}).encode()
        headers = {"X-Hub-Signature-256": meta.sign_body(raw, self.of.app_secret)}
        path = f"/webhooks/whatsapp/{self.of.app_id}-wa"
        assert self.world.ask("POST", path, content=raw, headers=headers).status_code == 200

    def form_answers(self) -> None:
        """Somebody fills in the form of a link that a member sent."""
        threads = ""
        for conversation in self.ids("conversation_id")[:3]:
            form = {"page_id": self.made["page"], "client_message_id": str(uuid.uuid4())}
            self.press(f"/inbox/{conversation}/forms", data=form)
            threads += self.world.ask("GET", f"/inbox/{conversation}/thread", session=self.of.owner).text
        link = found_in(r"(/form/[\w.=~-]+)", threads)
        self.of.links["form"] = link
        opening = found_in(r'data-opening="([^"]+)"', self.world.ask("GET", link).text)
        self.world.context.clock.advance(seconds=30)  # type: ignore[attr-defined]  # the world's stands still
        ((_, slots), *_) = show_slots(HOURS, "en", self.world.context.clock.now())
        answers = {"q1": f"mei@{self.of.word}.example.com", "q2": self.of.word, "q3": slots[-1][0]}
        sent = {"page_id": self.made["page"], "opening": opening, "submission_id": str(uuid.uuid4()),
                "language": "en", "answers": answers, "consents": ["c1"]}  # fmt: skip
        answer = self.world.ask("POST", link, json=sent)
        assert answer.status_code == 200, answer.text

    def inbox(self) -> None:
        word, other = self.of.word, self.of.members[Role.AGENT]
        for conversation in self.ids("conversation_id")[:3]:
            path = f"/inbox/{conversation}"
            self.press(f"{path}/labels", data={"name": f"{word} vip"})
            self.press(f"{path}/unblock", data={"fine": "1"})
            note = {"text": f"{word} note, @agent {word}", "client_message_id": str(uuid.uuid4())}
            self.press(f"{path}/notes", data=note)
            at = (self.world.context.clock.now() + timedelta(hours=3)).astimezone(UTC).isoformat()
            later = {"text": f"{word} later", "at": at, "client_message_id": str(uuid.uuid4())}
            self.press(f"{path}/scheduled", data=later)
            said = {"text": f"{word} replies", "client_message_id": str(uuid.uuid4())}
            self.press(f"{path}/messages", data=said)
            self.press(f"{path}/assign", data={"revision": self.revision(conversation), "member_id": other})

    def revision(self, conversation: str) -> int:
        rows = metadata.tables["conversations"]
        one = select(rows.c.revision).where(rows.c.id == conversation)
        return int(self.world.context.db.read_now(lambda tx: tx.scalar(one)))

    def leads(self) -> None:
        word, member = self.of.word, self.of.members[Role.MANAGER]
        first, second, third, fourth, *_ = self.ids("lead_id")
        for lead in (first, second):
            path = f"/leads/{lead}"
            self.press(f"{path}/labels", data={"name": f"{word} lead"})
            self.press(f"{path}/notes", data={"text": f"{word} lead note"})
            self.press(f"{path}/tasks", data={"text": f"{word} task", "due_on": "2030-01-01"})
            self.press(f"{path}/owner", data={"owner": member})
            self.press(f"{path}/status", data={"status": "contacted", "seen": "raw"})
        self.press("/leads/views", data={"name": f"{word} view", "query": f"q={word}"})
        self.press("/leads", "GET", params={"column": ["name", "phone"], "dense": "1"})
        self.press("/leads/bulk", data={"do": "label", "ids": [first, second], "label": f"{word} bulk"})
        self.import_leads(f"name,phone\n{word} imported,+65 9{self.of.phones[0][1:]}\n")
        self.press("/leads/merge", data={"ids": [third, fourth], "keep": third, "reason": f"{word} twins"})
        point = self.points_of(second)[0]
        self.press(f"/leads/{second}/points/{point}/reject")
        made = self.data("POST", "/crm/create/", name=f"{word} crm")["event_set_id"]
        number = next(each for each in self.ids("lead_id") if each.isdigit())
        event = {"event": "qualified_lead", "event_time": int(time.time()) - 60, "event_id": "e1",
                 "lead": {"lead_id": number, "lead_event_source": "crm"}}  # fmt: skip
        self.data("POST", "/event/track/", event_source="crm", event_source_id=made, data=[event])
        self.data("POST", "/page/lead/mock/create/", page_id=self.made["page"])

    def import_leads(self, sheet: str) -> None:
        """Show a file and start its import; and leave another one unstarted."""
        sent = {"text": sheet, "country": "SG"}
        self.press(self.press("/leads/import", data=sent).headers["location"] + "/start")
        self.press("/leads/import", data=sent)

    def points_of(self, lead: str) -> list[str]:
        rows = metadata.tables["contact_points"]
        wanted = select(rows.c.id).where(rows.c.lead_id == lead)
        return [
            str(each)
            for each in self.world.context.db.read_now(lambda tx: tx.execute(wanted).scalars().all())
        ]

    def reports(self) -> None:
        word = self.of.word
        self.press("/reports/saved", data={"name": f"{word} report", "query": "", "shared": "1"})
        asked = {"service_type": "AUCTION", "report_type": "BASIC", "data_level": "AUCTION_ADGROUP",
                 "dimensions": ["adgroup_id"], "query_lifetime": True, "metrics": ["spend"]}  # fmt: skip
        self.data("POST", "/report/task/create/", **asked)
        self.data("POST", "/page/lead/task/", page_id=self.made["page"])

    def programs(self) -> None:
        for app in (f"{self.of.word}-other", self.of.app_id):
            hook = {"app_id": app, "secret": self.of.app_secret}
            url = f"https://{self.of.word}.example.com/messages"
            self.data("POST", "/business/webhook/update/", **hook, callback_url=url)
        self.webhook("im_receive_msg", f"{self.of.word}1", f"{self.of.word} says more")
        settle(self.world)
        photo = next(each for each in self.rows("messages", "photo", "id", "conversation_id") if each[0])
        named = {"business_id": self.of.webchat_id, "media_id": photo[0], "message_id": photo[1],
                 "conversation_id": photo[2]}  # fmt: skip
        link = self.data("POST", "/business/message/media/download/", **named)["download_url"]
        self.of.links["media"] = link.removeprefix(self.world.context.settings.base_url)

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        of = metadata.tables[table]
        wanted = select(*(of.c[each] for each in columns)).where(of.c.business_id == self.of.business_id)
        return [tuple(row) for row in self.world.context.db.read_now(lambda tx: tx.execute(wanted).all())]


def build_world(folder: Path, database: str, clock: FixedClock) -> Built:
    """Make both tenants in an empty installation; nobody has it open afterwards."""
    url = postgres.url_of(database) if database else ""
    with running_world(folder, url, clock) as world:
        victim, attacker = make_tenant(world, "zanzibar", 1), make_tenant(world, "yankee", 2)
        for tenant in (victim, attacker):
            Filling(world, tenant).run()
    return Built(victim, attacker, clock.now(), folder, database)
