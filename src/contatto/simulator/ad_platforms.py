"""Fake ad platforms, and the failure kit for signal connectors."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlsplit

from contatto.ad_platforms.model import AdPlatform
from contatto.channels.model import Platform as Channel
from contatto.integrations.model import DeliveryState, Denied
from contatto.kit.outbound.model import Done, HttpAnswer, HttpOutcome, HttpRequest, NotNow, SendFailure
from contatto.signals import rules as signal_rules
from contatto.signals.model import AdSignal, MatchKeys, SignalConnector, SignalEvent, SignalStep, SignalTarget
from contatto.simulator.crms.failure_kit import CheckFailed, FaultResult

HEX = re.compile(r"[0-9a-f]{64}")
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
TOKEN = "platform-token"  # noqa: S105 - of a platform in memory
FORGETS = timedelta(hours=48)
"""Time after which a platform counts a repeated event id again."""
OLDEST = timedelta(days=7)
LOST, RESET = "taken, and the answer lost", "lost on the way"
"""Faults without an answer: after the platform counted the event, and before."""
THROTTLED, REFUSED = "throttled", "refused"
"""Faults with an answer of the platform's own: too many requests, and an event that it refuses."""
AFTER_S: Final = 600
MESSAGING: Final = frozenset({
    "AddToCart", "CartAbandoned", "InitiateCheckout", "LeadSubmitted", "OrderCanceled", "OrderCreated",
    "OrderDelivered", "OrderReturned", "OrderShipped", "Purchase", "QualifiedLead", "RatingProvided",
    "ReviewProvided", "ViewContent",
})  # fmt: skip


def json_answer(body: Any, status: int = 200, **headers: str) -> HttpAnswer:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return HttpAnswer(status, {name.replace("_", "-"): text for name, text in headers.items()}, raw)


@dataclass
class AdPlatformFake:
    """Ad platform in memory, which counts events.

    ``fates`` are the faults of the next requests, None for no fault.
    """

    refusals: ClassVar[Mapping[str, HttpAnswer]]
    """Answers of the platform to `THROTTLED` and `REFUSED`."""

    dataset: str = "1800000000000000001"
    token: str = TOKEN
    clock_at: datetime = START
    fates: list[HttpAnswer | str | None] = field(default_factory=list)
    requests: list[HttpRequest] = field(default_factory=list)
    counted: list[dict[str, Any]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Names of the counted events."""
    tested: list[dict[str, Any]] = field(default_factory=list)
    _counted_at: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def send(self, request: HttpRequest) -> HttpOutcome:
        """Return the answer to a request, or the failure that its fault causes."""
        self.requests.append(request)
        fate = self.fates.pop(0) if self.fates else None
        if isinstance(fate, HttpAnswer):
            return fate
        if fate == RESET:
            return SendFailure.LOST
        answer = self.refusals.get(fate or "") or self.answer(request)
        return SendFailure.LOST if fate == LOST else answer

    def answer(self, request: HttpRequest) -> HttpAnswer:
        raise NotImplementedError

    def count(self, name: str, event: dict[str, Any], test_code: str) -> None:
        """Count an event, unless one with its id and name was counted in the last two days."""
        if test_code:
            self.tested.append(event)
            return
        key = name, event["event_id"]
        if key in self._counted_at and self.clock_at - self._counted_at[key] < FORGETS:
            return
        self._counted_at[key] = self.clock_at
        self.counted.append(event)
        self.names.append(name)

    def is_timely(self, occurred_s: int) -> bool:
        return (
            self.clock_at - OLDEST
            <= datetime.fromtimestamp(occurred_s, UTC)
            <= self.clock_at + timedelta(minutes=10)
        )


class TikTokFake(AdPlatformFake):
    refusals: ClassVar = {
        THROTTLED: json_answer({"code": 40100, "message": "Too many requests."}, retry_after=str(AFTER_S)),
        REFUSED: json_answer({
            "code": 20001, "message": "OK",
            "data": {"failed_events": [{"order_in_request": 0, "error_message": "Invalid event."}]},
        }),
    }  # fmt: skip

    def answer(self, request: HttpRequest) -> HttpAnswer:
        if urlsplit(request.url).path != "/open_api/v1.3/event/track/" or request.method != "POST":
            return json_answer({"code": 40400, "message": "no such path"})
        headers = {name.lower(): text for name, text in request.headers.items()}
        if headers.get("access-token") != self.token:
            return json_answer({"code": 40105, "message": "Access token is incorrect or has been revoked."})
        body = json.loads(request.body)
        if body["event_source"] != "crm":
            return json_answer({"code": 40002, "message": "event_source: Invalid value."})
        if body["event_source_id"] != self.dataset:
            return json_answer({"code": 40002, "message": "event_source_id: no such CRM event set."})
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
        return json_answer({"code": code, "message": "OK", "request_id": "r1", "data": data})

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


def _error(code: int, message: str, subcode: int = 0) -> HttpAnswer:
    return json_answer({"error": {"code": code, "error_subcode": subcode, "message": message}}, 400)


class MetaFake(AdPlatformFake):
    refusals: ClassVar = {
        THROTTLED: json_answer(
            {"error": {"code": 4, "message": "Application request limit reached"}},
            400,
            retry_after=str(AFTER_S),
        ),
        REFUSED: _error(100, "Messaging Event Invalid Event Type", 2804066),
    }

    def answer(self, request: HttpRequest) -> HttpAnswer:
        path = urlsplit(request.url).path.strip("/").split("/")
        if request.body[:1] == b"{":
            body: dict[str, Any] = json.loads(request.body)
        else:  # the form that their own client sends: each event is a text of JSON in it
            form: dict[str, Any] = dict(parse_qsl(f"{urlsplit(request.url).query}&{request.body.decode()}"))
            texts = json.loads(form["data"])
            body = form | {"data": [json.loads(text) if isinstance(text, str) else text for text in texts]}
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
        return json_answer({"events_received": len(body["data"]), "messages": [], "fbtrace_id": "t1"})

    def _wrong(self, event: dict[str, Any]) -> str:
        user = event["user_data"]
        for name in ("em", "ph", "external_id"):
            if not all(HEX.fullmatch(text) for text in user.get(name, [])):
                return f"{name} is not hashed"
        if event["action_source"] != "business_messaging" or event["event_name"] not in MESSAGING:
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


MOST_TRIES: Final = 12
ADA: Final = MatchKeys(
    "person-1", ("Ada@example.com",), ("+6591234567",), "click-1", Channel.WHATSAPP, "waba-1", "scoped-1"
)
WAIT: Final = timedelta(minutes=1)
"""Between two tries, where the platform asks for no longer one."""


type Ending = tuple[DeliveryState, str]
"""End of a signal: sent, or held back or dead for a reason."""


@dataclass
class SignalBench:
    """Test bench that sends events to a fake platform by the rules of the engine.

    ``unsure`` are the ids of events that the platform may have counted without our knowledge.
    """

    connector: SignalConnector
    platform: AdPlatformFake
    target: SignalTarget
    unsure: set[str] = field(default_factory=set)

    def event(
        self, number: int = 0, step: SignalStep = SignalStep.CAPTURED, keys: MatchKeys = ADA
    ) -> SignalEvent:
        """Return one step of one lead; a conversion has a value."""
        name, event_id = self.connector.names[step], f"{number}-{step.value}"
        is_sale = step is SignalStep.CONVERTED
        value, currency = (12_500_000, "EUR") if is_sale else (None, "")
        return SignalEvent(event_id, name, START, 100 + number, keys, value, currency)

    def send(self, event: SignalEvent) -> Ending:
        """Send an event until its state is final; waits between tries pass on the platform's clock."""
        if reason := self.connector.find_gap(event):
            return DeliveryState.WITHHELD, reason
        last_reason = ""
        for _ in range(MOST_TRIES):
            unsure_at = START if event.event_id in self.unsure else None
            signal = AdSignal(
                id=0,
                business_id="",
                state=DeliveryState.DUE,
                reason="",
                created_at=event.occurred_at,
                settled_at=None,
                outside_account_id="",
                lead_id="",
                step=SignalStep.CAPTURED,
                event_id=event.event_id,
                value_micros=None,
                currency="",
                occurred_at=event.occurred_at,
                asked_at=unsure_at,
                unsure_at=unsure_at,
            )
            if reason := signal_rules.cannot_be_sent(signal, self.platform.clock_at):
                return DeliveryState.DEAD, reason
            answer = self.platform.send(self.connector.ask(self.target, event))
            outcome = NotNow("") if isinstance(answer, SendFailure) else self.connector.read(answer)
            if isinstance(answer, SendFailure):
                self.unsure.add(event.event_id)
            if isinstance(outcome, Done):
                return DeliveryState.SENT, ""
            if not isinstance(outcome, NotNow):
                is_blocked = isinstance(outcome, Denied)
                return DeliveryState.WITHHELD if is_blocked else DeliveryState.DEAD, outcome.reason
            last_reason = outcome.reason
            self.platform.clock_at += max(WAIT, timedelta(seconds=outcome.after_s or 0))
        return DeliveryState.DUE, last_reason

    def expect_sent(self, *events: SignalEvent) -> None:
        """Send events. Raises CheckFailed: the platform did not accept one."""
        for event in events:
            state, reason = self.send(event)
            if state is not DeliveryState.SENT:
                raise CheckFailed(f"{event.event_id} is {state.value}: {reason}")

    def expect_state(self, event: SignalEvent, state: DeliveryState, reason: str) -> None:
        """Send an event. Raises CheckFailed: its final state or reason is another."""
        actual_state, actual_reason = self.send(event)
        if (actual_state, actual_reason) != (state, reason):
            actual = f"{actual_state.value} ({actual_reason})"
            raise CheckFailed(f"it is {actual} instead of {state.value} ({reason})")

    def check(self, *events: SignalEvent) -> None:
        """Check that each event counts once, and that no contact detail left in clear. Raises CheckFailed."""
        counted = sorted(counted_event["event_id"] for counted_event in self.platform.counted)
        if counted != sorted(event.event_id for event in events):
            raise CheckFailed(f"{len(counted)} events count of {len(events)}")
        details = [text.strip("+").lower().encode() for text in (*ADA.emails, *ADA.phones)]
        bodies = [request.body.lower() for request in self.platform.requests]
        if any(detail in body for detail in details for body in bodies):
            raise CheckFailed("a contact detail left in clear")


type Play = Callable[[SignalBench], None]

type Fate = HttpAnswer | str | None

STORM: Final = 10
DOWN: Final = HttpAnswer(503, {}, b"")
HTML: Final = HttpAnswer(200, {}, b"<!doctype html><title>Sign in</title>")
EMPTY: Final = HttpAnswer(200, {}, b"{}")


def _meet(bench: SignalBench, fates: Sequence[Fate] = (), *, is_killed: bool = False) -> None:
    """Let the first tries of each of two steps meet these faults.

    With ``is_killed`` the sender dies after its first request, before it records the answer.
    """
    events = bench.event(), bench.event(0, SignalStep.QUALIFIED)
    for event in events:
        if is_killed:
            bench.platform.send(bench.connector.ask(bench.target, event))
        bench.platform.fates = list(fates)
        bench.expect_sent(event)
    bench.check(*events)


def _refuse(bench: SignalBench, ending: Ending, fate: Fate = None, **changes: Any) -> None:
    """Refuse three events by a fault or a change of the platform; they count once a person has mended it.

    The person enters the new token or data set, sets the clock, or only sends again.
    """
    platform = bench.platform
    for name, value in changes.items():
        setattr(platform, name, value)
    events = [bench.event(number) for number in range(3)]
    for event in events:
        platform.fates = [fate]
        bench.expect_state(event, *ending)
    platform.clock_at = START
    bench.target = replace(bench.target, access_token=platform.token, dataset_id=platform.dataset)
    bench.expect_sent(*events)
    bench.check(*events)


def play_repeated_step(bench: SignalBench) -> None:
    """Send the same step again, as after a restore of our own backup."""
    bench.expect_sent(bench.event(), bench.event(), bench.event())
    bench.check(bench.event())


def play_keeps_to_retry_after(bench: SignalBench) -> None:
    bench.platform.fates = [THROTTLED]
    bench.expect_sent(bench.event())
    if bench.platform.clock_at < START + timedelta(seconds=AFTER_S):
        raise CheckFailed("it did not wait as long as it was asked to")
    bench.check(bench.event())


def play_off_for_a_week(bench: SignalBench) -> None:
    """Drop events older than a week after eight days of silence; send younger ones."""
    bench.platform.clock_at = START + timedelta(days=8)
    young = replace(bench.event(1), occurred_at=START + timedelta(days=6))
    bench.expect_state(bench.event(), DeliveryState.DEAD, signal_rules.TOO_OLD)
    bench.expect_sent(young)
    bench.check(young)


def play_lost_for_two_days(bench: SignalBench) -> None:
    """Send no event again after two days: the platform forgets ids, and may have counted it."""
    bench.platform.send(bench.connector.ask(bench.target, bench.event()))
    bench.unsure.add(bench.event().event_id)
    bench.platform.clock_at = START + timedelta(hours=49)
    bench.expect_state(bench.event(), DeliveryState.DEAD, signal_rules.MAYBE_COUNTED)
    bench.check(bench.event())


def play_wrong_order(bench: SignalBench) -> None:
    """Lose the answer of the first step, and send the second before the first is sent again."""
    first, second = bench.event(), bench.event(0, SignalStep.QUALIFIED)
    bench.platform.fates = [LOST]
    bench.platform.send(bench.connector.ask(bench.target, first))
    bench.expect_sent(second, first)
    bench.check(first, second)


def play_one_phone(bench: SignalBench) -> None:
    """Send two people with one phone, who are two leads."""
    second_lead = bench.event(1, keys=replace(ADA, external_id="person-2"))
    bench.expect_sent(bench.event(), second_lead)
    bench.check(bench.event(), second_lead)


def play_worth(bench: SignalBench) -> None:
    """Send the value of a conversion as it is, in its currency."""
    sale = bench.event(0, SignalStep.CONVERTED)
    bench.platform.fates = [LOST, DOWN]
    bench.expect_sent(sale)
    (counted,) = bench.platform.counted
    if (counted.get("properties") or counted.get("custom_data")) != {"value": 12.5, "currency": "EUR"}:
        raise CheckFailed("the value is another one")
    bench.check(sale)


def play_nobody(bench: SignalBench) -> None:
    """Send nothing for a person without any match key."""
    blank = replace(ADA, emails=(), phones=(), click_id="", channel=None, business_id="", scoped_id="")
    bench.expect_state(bench.event(keys=blank), DeliveryState.WITHHELD, signal_rules.NOBODY_TO_MATCH)
    if bench.platform.requests:
        raise CheckFailed("something was sent all the same")


def play_spelled_oddly(bench: SignalBench) -> None:
    """Spell a contact detail in another way: the same person gives the same hash."""
    odd = replace(ADA, emails=("  ADA@Example.com ",), phones=("+65 9123-4567",))
    bench.expect_sent(bench.event(), bench.event(1, keys=odd))
    one, two = (
        counted_event.get("user") or counted_event["user_data"] for counted_event in bench.platform.counted
    )
    if any(one.get(name) != two.get(name) for name in ("email", "em", "phone", "ph")):
        raise CheckFailed("one person has two hashes")


def play_many(bench: SignalBench) -> None:
    """Send a hundred steps; every third meets a fault."""
    fates: list[Fate] = [LOST, DOWN, RESET, HTML, THROTTLED, EMPTY]
    events = [bench.event(number) for number in range(100)]
    for number, event in enumerate(events):
        bench.platform.fates = [] if number % 3 else [fates[number // 3 % len(fates)]]
        bench.expect_sent(event)
    bench.check(*events)


FAULTS: Final[Mapping[str, Play]] = {
    "expired token": partial(
        _refuse,
        ending=(DeliveryState.WITHHELD, signal_rules.TOKEN_REFUSED),
        token="another",  # noqa: S106 - in memory
    ),
    "data set deleted": partial(
        _refuse, ending=(DeliveryState.WITHHELD, signal_rules.DATASET_GONE), dataset="1800000000000000002"
    ),
    "not allowed": partial(
        _refuse, ending=(DeliveryState.WITHHELD, signal_rules.TOKEN_REFUSED), fate=HttpAnswer(403, {}, b"")
    ),
    "told already": play_repeated_step,
    "told to wait": play_keeps_to_retry_after,
    "refused in a good answer": partial(
        _refuse, ending=(DeliveryState.DEAD, signal_rules.EVENT_REFUSED), fate=REFUSED
    ),
    "killed between request and note": partial(_meet, is_killed=True),
    "off for more than a week": play_off_for_a_week,
    "no answer for two days": play_lost_for_two_days,
    "clock a day off": partial(
        _refuse, ending=(DeliveryState.DEAD, signal_rules.EVENT_REFUSED), clock_at=START - timedelta(days=1)
    ),
    "answers in the wrong order": play_wrong_order,
    "one phone of two people": play_one_phone,
    "worth something": play_worth,
    "nobody to find": play_nobody,
    "spelled in two ways": play_spelled_oddly,
    "a hundred, and all that goes wrong": play_many,
    "too many requests": partial(_meet, fates=(THROTTLED,)),
    "a storm of 429": partial(_meet, fates=(THROTTLED,) * STORM),
    "server error": partial(_meet, fates=(DOWN,)),
    "connection reset": partial(_meet, fates=(RESET,)),
    "slow": partial(_meet, fates=(LOST,)),
    "taken, and the answer lost": partial(_meet, fates=(LOST, LOST)),
    "lost, and lost again": partial(_meet, fates=(RESET, LOST, RESET, LOST)),
    "HTML instead of JSON": partial(_meet, fates=(HTML,)),
    "an answer that says nothing": partial(_meet, fates=(EMPTY,)),
    "down and slow in turn": partial(_meet, fates=(DOWN, RESET, THROTTLED, LOST, HTML)),
}
"""Plays by the name of their fault."""


PLATFORMS: Final[Mapping[AdPlatform, Callable[[], AdPlatformFake]]] = {
    AdPlatform.TIKTOK: TikTokFake,
    AdPlatform.META: MetaFake,
}


def verify_signals(name: str, connector: SignalConnector) -> Iterator[FaultResult]:
    """Play every fault with a connector, each with a new fake platform."""
    for fault, play in FAULTS.items():
        platform, detail = PLATFORMS[connector.platform](), ""
        address = f"https://{connector.platform.value}.example.com"
        target = SignalTarget(address, platform.dataset, platform.token)
        try:
            play(SignalBench(connector, platform, target))
        except CheckFailed as wrong:
            detail = str(wrong)
        yield FaultResult(name, fault, is_right=not detail, detail=detail)
