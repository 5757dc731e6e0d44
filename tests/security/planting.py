"""A person whose contact values come in through every door, in every place where a text may stand."""

import re
import uuid
from dataclasses import dataclass
from datetime import UTC, timedelta
from typing import Any, Final

import msgspec

from contatto.channels.connectors import meta
from contatto.ui.render import GUEST_COOKIE
from tests.journeys.running import csrf_of, message
from tests.security.filling import Filling, picture, settle
from tests.security.world import World

PHONE: Final = "+6597776655"
MAIL: Final = "planted.mei@example.org"
WRITTEN: Final = "9777 6655"
"""The phone as people write it."""
NAME: Final = "Zelda Markworth"
VALUES: Final = (PHONE, "97776655", WRITTEN, MAIL)
TEXT: Final = f"I am {NAME}, write to {MAIL} or call +65 {WRITTEN}"
PLATFORM_NAME: Final = f"{NAME} {PHONE}"
"""People put their number into the name that a platform shows."""


@dataclass
class Planting:
    """Plants the values with one tenant of a world, by what strangers, members and programs send."""

    world: World

    def __post_init__(self) -> None:
        self.of = self.world.victim
        self.filling = Filling(self.world, self.of)
        self.visitor = self.world.open_chat(self.of.webchat_id)

    def run(self) -> None:
        self.strangers()
        settle(self.world)
        self.form()
        settle(self.world)
        self.members()
        settle(self.world)
        self.programs()
        settle(self.world)
        self.jobs()
        settle(self.world)

    def strangers(self) -> None:
        """A visitor of the chat page, people on platforms, and viewers that a publisher names."""
        chat = f"/chat/{self.of.webchat_id}"
        for text in (TEXT, f"my name is {NAME}", MAIL, WRITTEN):
            said = {"client_message_id": str(uuid.uuid4()), "text": text}
            self.taken(self.world.ask("POST", f"{chat}/messages", visitor=self.visitor, json=said))
        raw = {"content": picture(MAIL), "headers": {"Content-Type": "image/png"}}
        named = {"client_message_id": str(uuid.uuid4())}
        self.taken(self.world.ask("POST", f"{chat}/photos", visitor=self.visitor, params=named, **raw))
        guest = self.world.ask("GET", "/login")  # a stranger who takes this for the page of their own account
        form = {"email": MAIL, "password": "not the password", "csrf_token": csrf_of(guest.text)}
        cookie = {"Cookie": f"{GUEST_COOKIE}={guest.cookies[GUEST_COOKIE]}"}
        assert self.world.ask("POST", "/login", data=form, headers=cookie).status_code in (401, 422, 429)
        now_ms = int(self.world.context.clock.now().timestamp() * 1_000)
        for number, text in enumerate((TEXT, WRITTEN, MAIL, WRITTEN, MAIL)):
            said = message(text, f"planted-{number}-", now_ms) | {"from": PLATFORM_NAME}
            self.filling.deliver("im_receive_msg", said)
        self.filling.deliver("im_receive_msg", {"text": {"body": PHONE}})  # nothing that can be read
        self.whatsapp(now_ms // 1_000)
        for viewer in VALUES:
            asked = {"viewer_id": viewer, "country": "SG"}
            answer = self.world.ask("POST", "/delivery/decide", token=self.of.token, json=asked)
            ad = answer.json()["ad"]
            if ad is not None:
                for link in (ad["view_url"], ad["click_url"]):
                    assert self.world.ask("GET", link).status_code in (200, 303)

    def whatsapp(self, now_s: int) -> None:
        """A message after a tap on an ad; on WhatsApp a person's id is their number."""
        referral = {"source_type": "ad", "source_id": "120208", "ctwa_clid": "click",
                    "headline": f"Call {PHONE}", "body": TEXT}  # fmt: skip
        said = {"id": f"wamid.{PHONE}", "from": PHONE[1:], "type": "text", "timestamp": str(now_s),
                "text": {"body": TEXT}, "referral": referral}  # fmt: skip
        value = {"metadata": {"phone_number_id": f"wa-{self.of.word}"}, "messages": [said],
                 "contacts": [{"wa_id": PHONE[1:], "profile": {"name": f"{NAME} {MAIL}"}}]}  # fmt: skip
        body = {
            "object": "whatsapp_business_account",
            "entry": [{"changes": [{"field": "messages", "value": value}]}],
        }
        raw = msgspec.json.encode(body)
        headers = {"X-Hub-Signature-256": meta.sign_body(raw, self.of.app_secret)}
        self.taken(
            self.world.ask("POST", f"/webhooks/whatsapp/{self.of.app_id}-wa", content=raw, headers=headers)
        )

    def form(self) -> None:
        """The visitor fills in the form of the chat page."""
        page, chat = self.filling.ids("page_id")[0], f"/chat/{self.of.webchat_id}"
        sheet = self.taken(self.world.ask("GET", f"{chat}/form/{page}", visitor=self.visitor)).text
        found = re.search(r'data-opening="([^"]+)"', sheet)
        assert found
        self.world.context.clock.advance(seconds=30)  # type: ignore[attr-defined]  # the world's stands still
        sent = {"page_id": page, "opening": found.group(1), "submission_id": str(uuid.uuid4()),
                "language": "en", "answers": {"q1": MAIL, "q2": TEXT}, "consents": ["c1"]}  # fmt: skip
        self.taken(self.world.ask("POST", f"{chat}/form", visitor=self.visitor, json=sent))

    def members(self) -> None:
        """What members write about the person, in every field that they can type into."""
        press, ids = self.filling.press, self.filling.ids
        for conversation in self.conversations():
            path = f"/inbox/{conversation}"
            for where, more in (("notes", {}), ("messages", {}), ("scheduled", {"at": self.later()})):
                sent = {"text": TEXT, "client_message_id": str(uuid.uuid4())} | more
                press(f"{path}/{where}", data=sent)
        leads = self.leads()
        for lead in leads[:2]:
            press(f"/leads/{lead}/notes", data={"text": TEXT})
            press(f"/leads/{lead}/status", data={"status": "contacted", "seen": "raw"})
            press(f"/leads/{lead}/tasks", data={"text": TEXT, "due_on": "2030-01-01"})
        point = self.filling.points_of(leads[0])[0]
        press(f"/leads/{leads[0]}/points/{point}/reject")
        press("/leads/merge", data={"ids": leads[1:3], "keep": leads[1], "reason": TEXT})
        for asked in (PHONE, MAIL, NAME):
            press("/leads/views", data={"name": f"About {asked[:3]}", "query": f"q={asked}"})
            press("/leads", "GET", params={"q": asked})
            press("/inbox/search", "GET", params={"q": asked})
        press("/settings/replies", data={"shortcut": "planted", "text": TEXT})
        group = self.filling.ids("adgroup_id")[0]
        press(f"/ads/drafts/ads/{group}", "PUT", data={"name": PHONE, "text": TEXT})
        browser = {"Accept": "text/html"}
        press(f"/ads/ad-groups/{group}/ads", data={"name": PHONE, "headline": ""}, headers=browser)
        press("/reports/saved", data={"name": "Of one", "query": f"q={MAIL}", "shared": "1"})
        assert ids("lead_id")

    def programs(self) -> None:
        """What programs send with a token."""
        digits = PHONE[1:]
        for number in self.numbers():
            event = {"event": f"called {WRITTEN}", "event_time": int(self.now().timestamp()) - 60,
                     "event_id": MAIL, "lead": {"lead_id": number, "lead_event_source": digits},
                     "properties": {"phone": PHONE}}  # fmt: skip
            sets = self.filling.ids("event_set_id")
            self.filling.data(
                "POST", "/event/track/", event_source="crm", event_source_id=sets[0], data=[event]
            )
        said = {"business_id": self.of.webchat_id, "recipient_type": "CONVERSATION", "message_type": "TEXT",
                "text": {"body": TEXT}}  # fmt: skip
        for external in self.chats():
            self.filling.data("POST", "/business/message/send/", **said, recipient=external)
        smart = {
            "request_id": str(uuid.uuid4().int)[:18],
            "campaign_name": "Smart",
            "objective_type": "LEAD_GENERATION",
        }
        self.filling.data("POST", "/smart_plus/campaign/create/", **smart)
        self.filling.data("POST", "/page/lead/task/", page_id=self.filling.ids("page_id")[0])

    def jobs(self) -> None:
        """Long work whose plan, rows and reasons name the person."""
        sheet = (
            f"name,phone,email\n{NAME},+65 {WRITTEN},\n{NAME},,{MAIL}\nBad,{WRITTEN}99,\n{MAIL},nothing,\n"
        )
        self.filling.import_leads(sheet)
        self.filling.press(
            "/leads/bulk", data={"do": "status", "all": "1", "query": f"q={PHONE}", "status": "contacted"}
        )
        self.filling.press(
            "/leads/bulk", data={"do": "status", "all": "1", "query": f"q={PHONE}", "status": "contacted"}
        )

    def now(self) -> Any:
        return self.world.context.clock.now()

    def later(self) -> str:
        return str((self.now() + timedelta(hours=3)).astimezone(UTC).isoformat())

    def rows(self, table: str, *columns: str) -> list[tuple[Any, ...]]:
        return self.filling.rows(table, *columns)

    def leads(self) -> list[str]:
        """The leads that the person became, those that can still be worked on.

        Those of the platform come last, in the order in which they wrote: what is then rejected, merged and
        imported leaves one of them with each value. By their ids, which are drawn, it sometimes did not.
        """
        writers = dict(self.rows("persons", "id", "external_id"))
        found = self.rows("leads", "id", "name_key", "hidden_at", "person_id")
        shown = [
            (writers.get(person, "").partition("planted-")[2], lead)
            for lead, name, hidden, person in found
            if NAME.lower() in name and hidden is None
        ]
        return [lead for _, lead in sorted(shown)]

    def numbers(self) -> list[str]:
        shown = set(self.leads())
        return [str(number) for lead, number in self.rows("leads", "id", "number") if lead in shown]

    def conversations(self) -> list[str]:
        whose = {person for person, name in self.rows("persons", "id", "name_key") if NAME.lower() in name}
        return [each for each, person in self.rows("conversations", "id", "person_id") if person in whose]

    def chats(self) -> list[str]:
        found = self.rows("conversations", "external_id", "channel_account_id")
        return [external for external, account in found if account == self.of.webchat_id]

    def say(self, user: str) -> None:
        """One more message on a platform."""
        now_ms = int(self.now().timestamp() * 1_000)
        self.filling.deliver("im_receive_msg", message(TEXT, user, now_ms) | {"from": PLATFORM_NAME})

    @staticmethod
    def taken(answer: Any) -> Any:
        assert answer.status_code == 200, answer.text
        return answer
