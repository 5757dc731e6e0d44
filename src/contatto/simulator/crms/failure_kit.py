"""Failure kit: faults of real CRMs, played against one connector."""

import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

import httpx2

from contatto.crm import model as crm
from contatto.crm.rules.deliveries import Arrived, DeliveryTurn, begin_course, next_turn, operation_of
from contatto.kit.outbound.model import Failed, HttpAnswer, HttpRequest, NotNow
from contatto.simulator.crms import hosted, self_hosted
from contatto.simulator.crms.server import PATIENCE_S, CrmServer, Vendor, VendorFault


@dataclass(frozen=True)
class CrmCase:
    """One CRM in memory.

    Attributes:
        vendor: makes it, empty.
        settings, secrets: what a link to it has.
        names: values of a lead besides contact details, by the CRM's own names of its fields.
        email, phone: fields that hold contact details.
        bad_value: a field with a list, and a value that it does not have.
        one_per_email: it refuses a second record with the same e-mail address.
        tells_merges: it says which record a merged one became.
        names_fields: it refuses a field that it does not have, and names it.
    """

    connector: str
    vendor: Callable[[], Vendor]
    settings: Mapping[str, str]
    secrets: Mapping[str, str] = field(repr=False)
    names: Mapping[str, str]
    email: str = "email"
    phone: str = "phone"
    bad_value: tuple[str, str] | None = None
    one_per_email: bool = True
    tells_merges: bool = True
    names_fields: bool = True

    @property
    def ada(self) -> dict[str, str]:
        """Return the values of a lead."""
        return {self.email: "ada@example.com", self.phone: "+6591234567", **self.names}


_ALL: Final = (
    CrmCase(
        "hubspot",
        hosted.HubSpotFake,
        {},
        {"access_token": hosted.HUBSPOT_TOKEN},
        {"firstname": "Ada", "lastname": "Tan"},
        bad_value=("hs_lead_status", "SMITTEN"),
    ),
    CrmCase(
        "salesforce",
        hosted.SalesforceFake,
        {"client_id": "x", "currency": "EUR"},
        {"access_token": hosted.SALESFORCE_TOKEN},
        {"LastName": "Tan", "Company": "Ada's"},
        "Email",
        "Phone",
        ("LeadSource", "Dream"),
    ),
    CrmCase(
        "google_sheets",
        hosted.GoogleSheetsFake,
        {"spreadsheet": hosted.SPREADSHEET, "sheet": hosted.SHEET},
        {"access_token": hosted.GOOGLE_TOKEN},
        {"Name": "Ada Tan"},
        "E-mail",
        "Phone",
        one_per_email=False,
        tells_merges=False,
    ),
    CrmCase(
        "zoho",
        hosted.ZohoFake,
        {"client_id": "x"},
        {"access_token": hosted.ZOHO_TOKEN},
        {"Last_Name": "Tan"},
        "Email",
        "Phone",
        ("Lead_Status", "Smitten"),
        tells_merges=False,
        names_fields=False,
    ),
    CrmCase(
        "pipedrive",
        hosted.PipedriveFake,
        {"id_field": hosted.PIPEDRIVE_ID_FIELD},
        {"api_token": hosted.PIPEDRIVE_TOKEN},
        {"name": "Ada Tan"},
        bad_value=("b7d1", "9"),
        one_per_email=False,
        tells_merges=False,
    ),
    CrmCase(
        "odoo",
        self_hosted.OdooFake,
        {"database": self_hosted.ODOO_DATABASE, "user": self_hosted.ODOO_USER},
        {"password": self_hosted.ODOO_KEY, "session": str(self_hosted.ODOO_UID)},
        {"name": "Ada Tan"},
        "email_from",
        bad_value=("priority", "9"),
        one_per_email=False,
        tells_merges=False,
    ),
    CrmCase(
        "tryton",
        self_hosted.TrytonFake,
        {"database": self_hosted.TRYTON_DATABASE, "user": self_hosted.TRYTON_USER},
        {"password": self_hosted.TRYTON_PASSWORD, "session": self_hosted.TRYTON_SESSION},
        {"name": "Ada Tan"},
        one_per_email=False,
    ),
    CrmCase(
        "bottlecrm",
        self_hosted.BottleFake,
        {},
        {"access_token": self_hosted.BOTTLECRM_TOKEN},
        {"last_name": "Tan", "title": "Ada Tan"},
        bad_value=("status", "smitten"),
        tells_merges=False,
        names_fields=False,
    ),
    CrmCase(
        "webhook",
        self_hosted.WebhookReceiver,
        {},
        {"secret": self_hosted.WEBHOOK_SECRET},
        {"name": "Ada Tan"},
        one_per_email=False,
        tells_merges=False,
        names_fields=False,
    ),
)

CASES: Final[Mapping[str, CrmCase]] = {case.connector: case for case in _ALL}
"""Cases by name of the connector. Other tests run the real Tryton and BottleCRM."""


MOST_REQUESTS: Final = 8
MOST_TRIES: Final = 12


class NoReply(Exception):
    """No answer came, or the requests of one operation never end."""


@dataclass
class ConnectorDriver:
    """Runs the operations of one connector; ``patience_s`` returns the next timeout in seconds."""

    connector: crm.CrmConnector
    link: crm.CrmLink
    patience_s: Callable[[], float] = lambda: PATIENCE_S
    client: httpx2.Client = field(
        default_factory=partial(
            httpx2.Client, trust_env=False, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        )
    )

    def do(self, operation: crm.Operation) -> crm.Reply:
        """Return the reply to an operation. Raises NoReply: there is none."""
        request_or_reply = self.connector.ask(replace(self.link, now=datetime.now(UTC)), operation)
        memory = ""
        for _ in range(MOST_REQUESTS):
            if not isinstance(request_or_reply, HttpRequest):
                return request_or_reply
            try:
                done = self.client.request(
                    request_or_reply.method,
                    request_or_reply.url,
                    headers=dict(request_or_reply.headers),
                    content=request_or_reply.body,
                    timeout=self.patience_s(),
                )
            except httpx2.HTTPError as error:
                raise NoReply from error
            headers = {name.lower(): value for name, value in done.headers.items()}
            answer = HttpAnswer(done.status_code, headers, done.content)
            reply = self.connector.read(self.link, operation, answer, memory)
            if not isinstance(reply, crm.FollowUp):
                return reply
            request_or_reply, memory = reply.request, reply.memory
        raise NoReply

    def deliver(self, payload: crm.Payload, stored_id: str = "") -> Arrived | NotNow | Failed:
        """Deliver a lead by the rules of the engine, without its waits, until it arrives or they give up."""
        outcome: Arrived | NotNow | Failed = Failed("never_tried")
        for _ in range(MOST_TRIES):
            turn: DeliveryTurn = begin_course(
                self.connector.traits, payload, (stored_id,) if stored_id else ()
            )
            try:
                while not isinstance(turn, Arrived | NotNow | Failed):
                    reply = self.do(operation_of(turn))
                    if isinstance(reply, crm.Expired):
                        # Renew the session of a CRM that has one; a token in memory stays valid.
                        renewed = self.do(crm.RenewSecrets()) if self.connector.traits.oauth is None else None
                        if isinstance(renewed, crm.SecretsRenewed):
                            self.link = replace(self.link, secrets={**self.link.secrets, **renewed.secrets})
                        reply = self.do(operation_of(turn))
                    turn = next_turn(self.connector, turn, reply)
                outcome = turn
            except NoReply:
                outcome = NotNow("answer_lost")
            if isinstance(outcome, Arrived | Failed):
                break
        return outcome


LEADS: Final = tuple(f"0195e2a7-0000-7000-8000-{number:012d}" for number in range(12))


class CheckFailed(Exception):
    """A mistake of a connector, in words."""


class NotApplicable(Exception):
    """A fault that this CRM cannot have, with the reason."""


class CrmBench:
    """One connector and one CRM in memory, with helpers for plays."""

    def __init__(self, case: CrmCase, server: CrmServer, driver: ConnectorDriver) -> None:
        self.case, self.server, self.driver = case, server, driver
        self.vendor = server.vendor
        self.crm = server.vendor.crm
        self.traits = driver.connector.traits

    def payload(self, number: int = 0, revision: int = 1, **more: str) -> crm.Payload:
        """Return a lead: the first is Ada, the others have contact details of their own."""
        values = dict(self.case.ada)
        if number:
            values |= {
                self.case.email: f"lead{number}@example.com",
                self.case.phone: f"+65912345{number:02d}",
            }
        values |= more
        email, phone = values[self.case.email], values[self.case.phone]
        at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
        return crm.Payload(LEADS[number], revision, values, "Budget: 100", email, phone, at)

    def deliver(self, payload: crm.Payload, stored_id: str = "") -> str:
        """Deliver a lead, and return the id of its record. Raises CheckFailed: it does not arrive."""
        outcome = self.driver.deliver(payload, stored_id)
        if isinstance(outcome, NotNow | Failed):
            raise CheckFailed(f"the lead does not arrive: {outcome.reason}")
        return outcome.record_id

    def check(self, *payloads: crm.Payload) -> None:
        """Check that each lead is there once with its latest values, and nothing else. Raises CheckFailed."""
        self.server.faults.clear()
        self.crm.lag = 0
        records = self.vendor.list_values()
        for payload in payloads:
            end_of_id = payload.external_id[-12:]  # every CRM keeps it; one of them takes no hyphens
            matches = [record for record in records if record.get(self.crm.our_id, "").endswith(end_of_id)]
            if len(matches) != 1:
                raise CheckFailed(f"{len(matches)} records of one lead")
            for name, value in payload.values.items():
                has = matches[0].get(name, "")
                if name in self.crm.fields and not self.driver.connector.is_same_value(name, value, has):
                    raise CheckFailed(f"{name} is not what was sent")
        if len(records) != len(payloads):
            raise CheckFailed(f"{len(records)} records of {len(payloads)} leads")

    def needs(self, is_there: object, why: str) -> None:
        if not is_there:
            raise NotApplicable(why)


type Play = Callable[[CrmBench], None]

STORM: Final = 10
"""Requests in a row that are turned away."""


def play_exists(bench: CrmBench) -> None:
    """Deliver a lead to a CRM that has a record of the same person already."""
    bench.needs(crm.FindBy.EMAIL in bench.traits.finds_by, "it is not searched by contact details")
    values = {name: value for name, value in bench.case.ada.items() if name != bench.crm.our_id}
    bench.crm.make(values)
    bench.deliver(bench.payload())
    bench.check(bench.payload())


def _meet(bench: CrmBench, faults: Sequence[VendorFault] = (), times: int = 1) -> None:
    """Deliver four leads ``times`` times; each meets the faults one request later than the lead before."""
    bench.needs(bench.traits.reads_back or VendorFault.HTML not in faults, "its 2xx says all")
    is_signed = bench.case.connector == "webhook"
    bench.needs(VendorFault.EXPIRED not in faults or not is_signed, "a signature does not expire")
    for before in range(4):
        bench.server.faults.extend([*[None] * before, *faults])
        for _ in range(times):
            bench.deliver(bench.payload(before))
        bench.server.faults.clear()
    bench.check(*map(bench.payload, range(4)))


def play_lag(bench: CrmBench) -> None:
    """Lose the answer to a write, while searches do not find the new record yet."""
    bench.crm.lag = 1
    bench.server.faults.extend([*[None] * len(bench.traits.finds_by), VendorFault.LOST])
    outcome = bench.driver.deliver(bench.payload())
    bench.crm.lag = 0
    if not isinstance(outcome, Arrived):
        bench.deliver(bench.payload())
    records = bench.vendor.list_values()
    if len(records) > 1 and not bench.traits.upserts and bench.traits.search_lag_s > 0:
        raise NotApplicable(f"the engine waits {bench.traits.search_lag_s:g} s before it looks again")
    bench.check(bench.payload())


def _merge_with_a_stranger(bench: CrmBench, *, keeps_our_id: bool) -> None:
    """Merge with a record that had none of our ids; the survivor keeps ours or loses it."""
    bench.needs(bench.traits.reads_back and bench.vendor.has_merges, "it has no merges")
    first = bench.deliver(bench.payload())
    second = bench.crm.make({**bench.case.ada, bench.case.email: "ada@example.org"})
    second.values.pop(bench.crm.our_id, None)
    survivor = bench.crm.merge(first, second.id)
    if not keeps_our_id:
        survivor.values.pop(bench.crm.our_id, None)
    changed = bench.payload(0, 2, **{bench.case.phone: "+6598765432", bench.case.email: "ada@example.org"})
    bench.deliver(changed, first)
    bench.check(changed)


def play_two_merged(bench: CrmBench) -> None:
    """Merge the records of two leads: the survivor belongs to the lead with the id that it carries."""
    bench.needs(bench.traits.reads_back and bench.vendor.has_merges, "it has no merges")
    first, second = bench.deliver(bench.payload()), bench.deliver(bench.payload(1))
    bench.crm.merge(second, first)
    ada, second_lead = bench.payload(0, 2), bench.payload(1, 2)
    for _ in range(2):
        bench.deliver(second_lead, second)
        bench.deliver(ada, first)
    # a connector that gets no word of the merge finds no record of the other lead, and makes a new one
    bench.check(*([ada] if bench.case.tells_merges else [ada, second_lead]))


def play_converted(bench: CrmBench) -> None:
    vendor = bench.vendor
    if not isinstance(vendor, hosted.SalesforceFake):
        raise NotApplicable("it converts no records into others")
    contact = vendor.convert(bench.deliver(bench.payload()))
    changed = bench.payload(0, 2, **{bench.case.phone: "+6598765432"})
    if bench.deliver(changed, contact) != contact or vendor.contacts[contact]["Phone"] != "+6598765432":
        raise CheckFailed("the contact that the lead became was not written to")


def play_deleted(bench: CrmBench) -> None:
    bench.needs(bench.traits.reads_back, "it has no records to be read")
    first = bench.deliver(bench.payload())
    bench.vendor.remove(first)
    bench.deliver(bench.payload(0, 2), first)
    bench.check(bench.payload(0, 2))


def _write_gone(bench: CrmBench, *, is_field: bool) -> None:
    """Write a field or a value that does not exist: the rest arrives, and the value goes into the note."""
    bench.needs(not is_field or bench.case.names_fields, "it passes over fields that it does not have")
    bench.needs(is_field or bench.case.bad_value, "it has no lists")
    name, value = "Gone", "Blue"
    if bench.case.bad_value and not is_field:
        name, value = bench.case.bad_value
    bench.deliver(bench.payload())
    bench.deliver(bench.payload(1, 1, **{name: value}))
    bench.check(bench.payload(), bench.payload(1))
    texts = [str(note) for note in bench.vendor.notes.values()]
    texts += [text for values in bench.vendor.list_values() for text in values.values()]
    if not any(value in text for text in texts):
        raise CheckFailed("the value is in no note")


def play_disabled(bench: CrmBench) -> None:
    """Turn a target off for seven days: only the latest values of each lead go there."""
    for number in range(6):
        if number % 2:
            bench.deliver(bench.payload(number))
    late = [bench.payload(number, 5, **{bench.case.phone: f"+6587654{number:03d}"}) for number in range(6)]
    for payload in late:
        bench.deliver(payload)
    bench.check(*late)


def play_restored(bench: CrmBench) -> None:
    """Restore an older backup: later records are gone, and strangers get their ids."""
    bench.needs(bench.traits.reads_back and bench.vendor.has_merges, "it has no ids of its own")
    bench.deliver(bench.payload())
    old = deepcopy(bench.crm.records)
    ids = [bench.deliver(bench.payload(number)) for number in (1, 2)]
    bench.crm.records = old
    bo = {bench.case.email: "bo@example.org", bench.case.phone: "+6580000000"}
    stranger = bench.crm.make({**bench.case.ada, **bo})
    if stranger.id != ids[0]:
        del bench.crm.records[stranger.id]
        bench.crm.records[ids[0]] = replace(stranger, id=ids[0])
    for number, stored in ((1, ids[0]), (2, ids[1])):
        bench.deliver(bench.payload(number, 2), stored)
    stranger_record = bench.crm.records.pop(ids[0])
    if stranger_record.values.get(bench.case.email) != "bo@example.org" or stranger_record.values.get(
        bench.crm.our_id
    ):
        raise CheckFailed("a stranger's record was written to")
    bench.check(bench.payload(), bench.payload(1, 2), bench.payload(2, 2))


def play_told_once(bench: CrmBench, skew: timedelta = timedelta()) -> None:
    """Check that the change feed lists each of six changes once, also with a wrong clock (``skew``)."""
    bench.crm.skew = skew
    bench.needs(bench.traits.tells_changes, "it tells no changes")
    bench.needs(bench.case.connector != "pipedrive", "it tells of deals, which nobody has made here")
    for number in range(6):
        bench.deliver(bench.payload(number))
    changed_ids: list[str] = []
    cursor = crm.Cursor()
    for _ in range(12):
        reply = bench.driver.do(crm.ListChanges(cursor))
        if not isinstance(reply, crm.ChangesListed):
            raise CheckFailed("changes are not told")
        changed_ids += [change.external_id for change in reply.changes]
        if not reply.changes:
            break
        cursor = reply.cursor
    else:
        raise CheckFailed("changes never end")
    if sorted(changed_ids) != sorted(LEADS[:6]):
        raise CheckFailed(f"{len(changed_ids)} changes of 6 leads are told")


def play_repeated(bench: CrmBench) -> None:
    """Ask for the same page again: the cursor does not go back."""
    bench.needs(bench.traits.tells_changes, "it tells no changes")
    bench.needs(bench.case.connector != "pipedrive", "it tells of deals, which nobody has made here")
    bench.deliver(bench.payload())
    first = bench.driver.do(crm.ListChanges(crm.Cursor()))
    second = bench.driver.do(crm.ListChanges(crm.Cursor()))
    if not isinstance(first, crm.ChangesListed) or not isinstance(second, crm.ChangesListed):
        raise CheckFailed("changes are not told")
    if first.cursor != second.cursor or second.is_more:
        raise CheckFailed("the same page gives another cursor")


def play_twice(bench: CrmBench) -> None:
    """Lose the answer to the later of two revisions of a lead; the record keeps that revision."""
    bench.deliver(bench.payload())
    late = bench.payload(0, 2, **{bench.case.phone: "+6598765432"})
    bench.server.faults.extend([*[None] * 3, VendorFault.LOST])
    with suppress(CheckFailed):
        bench.deliver(late)
    bench.deliver(late)
    bench.check(late)


def play_erased(bench: CrmBench) -> None:
    """Erase a person while the CRM is down, and read nothing of them in the end."""
    bench.needs(bench.traits.erases, "it cannot erase")
    record_id = bench.deliver(bench.payload())
    bench.server.faults.extend([VendorFault.DOWN, VendorFault.LOST])
    for _ in range(4):
        with suppress(NoReply):
            bench.driver.do(crm.EraseRecord(record_id, LEADS[0]))
    reply = bench.driver.do(crm.ReadRecord(record_id)) if bench.traits.reads_back else crm.Unsupported()
    if isinstance(reply, crm.FoundRecords) or bench.vendor.list_values():
        raise CheckFailed("something of the person is left")


FAULTS: Final[Mapping[str, Play]] = {
    "expired token": partial(_meet, faults=(VendorFault.EXPIRED,)),
    "exists already": play_exists,
    "search lags behind": play_lag,
    "two leads merged there": play_two_merged,
    "converted there": play_converted,
    "deleted there": play_deleted,
    "field deleted": partial(_write_gone, is_field=True),
    "value of a list gone": partial(_write_gone, is_field=False),
    "killed between write and note": partial(_meet, times=2),
    "off for seven days": play_disabled,
    "restored from a backup": play_restored,
    "clock a day off": partial(play_told_once, skew=timedelta(days=-1)),
    "changes of one moment": play_told_once,
    "a page comes again": play_repeated,
    "answers in the wrong order": play_twice,
    "erased while it is down": play_erased,
    "merged there": partial(_merge_with_a_stranger, keeps_our_id=True),
    "merged there, our id lost": partial(_merge_with_a_stranger, keeps_our_id=False),
    "too many requests": partial(_meet, faults=(VendorFault.THROTTLED,)),
    "a storm of 429": partial(_meet, faults=(VendorFault.THROTTLED,) * STORM),
    "server error": partial(_meet, faults=(VendorFault.DOWN,)),
    "connection reset": partial(_meet, faults=(VendorFault.RESET,)),
    "slow": partial(_meet, faults=(VendorFault.SLOW,)),
    "made, and the answer lost": partial(_meet, faults=(VendorFault.LOST,)),
    "lost, and lost again": partial(_meet, faults=(VendorFault.LOST,) * 3),
    "HTML instead of JSON": partial(_meet, faults=(VendorFault.HTML,)),
    "down and slow in turn": partial(
        _meet, faults=(VendorFault.DOWN, VendorFault.RESET, VendorFault.THROTTLED, VendorFault.LOST)
    ),
}
"""Fault → its play."""


@dataclass(frozen=True, slots=True)
class FaultResult:
    """Result of one fault: passed, failed with a reason, or not applicable."""

    connector: str
    fault: str
    is_right: bool | None
    detail: str


def verify_connector(connector: crm.CrmConnector, case: CrmCase) -> Iterator[FaultResult]:
    """Play every fault with a connector, each in a CRM of its own."""
    for name, play in FAULTS.items():
        with CrmServer(case.vendor()).running() as server:
            link = crm.CrmLink(server.address, case.settings, case.secrets, datetime.now(UTC))
            driver = ConnectorDriver(connector, link, server.patience_s)
            try:
                play(CrmBench(case, server, driver))
                yield FaultResult(case.connector, name, is_right=True, detail="")
            except NotApplicable as reason:
                yield FaultResult(case.connector, name, None, str(reason))
            except CheckFailed as failure:
                yield FaultResult(case.connector, name, is_right=False, detail=str(failure))
            except NoReply:
                yield FaultResult(case.connector, name, is_right=False, detail="no answer came")
            finally:
                driver.client.close()
