"""TikTok and Meta in memory: they check what they are told, count an event id once for two days, and fail.

Source: TikTok, Events API 2.0 (``/event/track/``); Meta, Conversions API for Business Messaging.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from contatto.kit.outbound.model import HttpAnswer, HttpOutcome, HttpRequest, NoAnswer, SendFailure

HEX = re.compile(r"[0-9a-f]{64}")
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOKEN = "platform-token"  # noqa: S105 - of a platform in memory
FORGETS = timedelta(hours=48)
OLDEST = timedelta(days=7)
LOST, RESET = "taken, and the answer lost", "lost on the way"
MESSAGING = (
    "AddToCart CartAbandoned InitiateCheckout LeadSubmitted OrderCanceled OrderCreated OrderDelivered",
    "OrderReturned OrderShipped Purchase QualifiedLead RatingProvided ReviewProvided ViewContent",
)


def said(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): text for name, text in headers.items()}, raw)


@dataclass
class Platform:
    """What a platform counts. ``fates`` are those of the requests to come, one each; None is as usual."""

    dataset: str = "1800000000000000001"
    token: str = TOKEN
    now: datetime = START
    fates: list[HttpAnswer | str | None] = field(default_factory=list)
    asked: list[HttpRequest] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    tested: list[dict[str, Any]] = field(default_factory=list)
    _seen: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def send(self, request: HttpRequest) -> HttpOutcome:
        """What comes of a request."""
        self.asked.append(request)
        fate = self.fates.pop(0) if self.fates else None
        if isinstance(fate, HttpAnswer):
            return fate
        if fate == RESET:
            return NoAnswer(SendFailure.LOST)
        answer = self.answer(request)
        return NoAnswer(SendFailure.LOST) if fate == LOST else answer

    def answer(self, request: HttpRequest) -> HttpAnswer:
        raise NotImplementedError

    def throttled(self, after_s: int) -> HttpAnswer:
        """What it says when it is asked too often."""
        raise NotImplementedError

    def refused(self) -> HttpAnswer:
        """What it says of an event that it does not take."""
        raise NotImplementedError

    def count(self, name: str, event: dict[str, Any], test_code: str) -> None:
        """Count an event, unless one of its id and name was counted in the last two days."""
        if test_code:
            self.tested.append(event)
            return
        key = name, event["event_id"]
        if key in self._seen and self.now - self._seen[key] < FORGETS:
            return
        self._seen[key] = self.now
        self.counted.append(event)

    def is_timely(self, at: int) -> bool:
        return self.now - OLDEST <= datetime.fromtimestamp(at, UTC) <= self.now + timedelta(minutes=10)

    @property
    def names(self) -> list[str]:
        return [event.get("event") or event["event_name"] for event in self.counted]


class TikTok(Platform):
    def answer(self, request: HttpRequest) -> HttpAnswer:
        if urlsplit(request.url).path != "/open_api/v1.3/event/track/" or request.method != "POST":
            return said({"code": 40400, "message": "no such path"})
        headers = {name.lower(): text for name, text in request.headers.items()}
        if headers.get("access-token") != self.token:
            return said({"code": 40105, "message": "Access token is incorrect or has been revoked."})
        body = json.loads(request.body)
        if body["event_source"] != "crm":
            return said({"code": 40002, "message": "event_source: Invalid value."})
        if body["event_source_id"] != self.dataset:
            return said({"code": 40002, "message": "event_source_id: no such CRM event set."})
        failed = [
            {"order_in_request": place, "event": event["event"], "error_message": wrong}
            for place, event in enumerate(body["data"])
            if (wrong := self._wrong(event))
        ]
        for event in body["data"]:
            if not self._wrong(event):
                self.count(event["event"], event, body.get("test_event_code", ""))
        code = 20001 if failed else 0
        data = {"failed_events": failed} if failed else {}
        return said({"code": code, "message": "OK", "request_id": "r1", "data": data})

    def throttled(self, after_s: int) -> HttpAnswer:
        return said({"code": 40100, "message": "Too many requests."}, retry_after=str(after_s))

    def refused(self) -> HttpAnswer:
        failed = [{"order_in_request": 0, "error_message": "Invalid event."}]
        return said({"code": 20001, "message": "OK", "data": {"failed_events": failed}})

    def _wrong(self, event: dict[str, Any]) -> str:
        user = event["user"]
        for name in ("email", "phone", "external_id"):
            values = user.get(name, [])
            if not all(HEX.fullmatch(text) for text in ([values] if isinstance(values, str) else values)):
                return f"user.{name}: not hashed"
        if not event.get("lead", {}).get("lead_id"):
            return "lead.lead_id: Missing data for required field."
        if not self.is_timely(event["event_time"]):
            return "event_time: too old"
        worth = event.get("properties", {})
        return "properties.currency: missing" if "value" in worth and not worth.get("currency") else ""


class Meta(Platform):
    def answer(self, request: HttpRequest) -> HttpAnswer:
        path = urlsplit(request.url).path.strip("/").split("/")
        body = self._body(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ") or body.get("access_token")
        if token != self.token:
            return _error(190, "Error validating access token")
        if path[1:] != [self.dataset, "events"]:
            return _error(100, "Unsupported post request. Object does not exist", 33)
        wrong = next((text for event in body["data"] if (text := self._wrong(event))), "")
        if wrong:
            return _error(100, wrong, 2804066)
        for event in body["data"]:
            self.count(event["event_name"], event, body.get("test_event_code", ""))
        return said({"events_received": len(body["data"]), "messages": [], "fbtrace_id": "t1"})

    def throttled(self, after_s: int) -> HttpAnswer:
        error = {"error": {"code": 4, "message": "Application request limit reached"}}
        return said(error, 400, retry_after=str(after_s))

    def refused(self) -> HttpAnswer:
        return _error(100, "Messaging Event Invalid Event Type", 2804066)

    @staticmethod
    def _body(request: HttpRequest) -> dict[str, Any]:
        """As JSON, or as the form that their own client sends: each event is a text of JSON in it."""
        if request.body[:1] == b"{":
            whole: dict[str, Any] = json.loads(request.body)
            return whole
        form: dict[str, Any] = dict(parse_qsl(f"{urlsplit(request.url).query}&{request.body.decode()}"))
        events = [json.loads(each) if isinstance(each, str) else each for each in json.loads(form["data"])]
        return form | {"data": events}

    def _wrong(self, event: dict[str, Any]) -> str:
        user = event["user_data"]
        for name in ("em", "ph", "external_id"):
            if not all(HEX.fullmatch(text) for text in user.get(name, [])):
                return f"{name} is not hashed"
        if (
            event["action_source"] != "business_messaging"
            or event["event_name"] not in " ".join(MESSAGING).split()
        ):
            return "Messaging Event Invalid Event Type"
        needed = {
            "whatsapp": ("ctwa_clid",),
            "messenger": ("page_id", "page_scoped_user_id"),
            "instagram": ("instagram_business_account_id", "ig_sid"),
        }[event["messaging_channel"]]
        if not all(user.get(name) for name in needed):
            return f"{needed} are required"
        if not self.is_timely(event["event_time"]):
            return "event_time is too old"
        worth = event.get("custom_data", {})
        if event["event_name"] == "Purchase" and not (worth.get("value") and worth.get("currency")):
            return "Purchase needs a value and a currency"
        return ""


def _error(code: int, message: str, subcode: int = 0) -> HttpAnswer:
    return said({"error": {"code": code, "error_subcode": subcode, "message": message}}, 400)
