"""One connector and one CRM in memory: what is brought there, and whether all of it is there in the end."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from contatto.crm.model import CrmField, Payload
from contatto.crm.rules.deliveries import Halt
from contatto.simulator.crms.cases import Case
from contatto.simulator.crms.google_sheets import GoogleSheetsFake
from contatto.simulator.crms.server import CrmServer, Fault
from contatto.simulator.crms.speaking import Speaker

LEADS: Final = tuple(f"0195e2a7-0000-7000-8000-{number:012d}" for number in range(12))


class Wrong(Exception):
    """What a connector got wrong, in words."""


class NotApplicable(Exception):
    """A fault that this CRM cannot have, and why."""


class Bench:
    """One connector and one CRM in memory, with what a fault needs to be done and looked at."""

    def __init__(self, case: Case, server: CrmServer, speaker: Speaker) -> None:
        self.case, self.server, self.speaker = case, server, speaker
        self.crm = server.vendor.crm
        self.traits = speaker.connector.traits

    def payload(self, number: int = 0, revision: int = 1, **more: str) -> Payload:
        """A lead: the first is Ada, the others have e-mail addresses and phone numbers of their own."""
        values = dict(self.case.ada)
        if number:
            values |= {
                self.case.email: f"lead{number}@example.com",
                self.case.phone: f"+65912345{number:02d}",
            }
        values |= more
        email, phone = values[self.case.email], values[self.case.phone]
        at = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
        return Payload(LEADS[number], revision, values, "Budget: 100", email, phone, at)

    def deliver(self, payload: Payload, stored_id: str = "") -> str:
        """Bring a lead there; the id of its record.

        Raises:
            Wrong: it does not arrive.
        """
        outcome = self.speaker.deliver(payload, stored_id)
        if isinstance(outcome, Halt):
            raise Wrong(f"the lead does not arrive: {outcome.reason}")
        return outcome.record_id

    def fail(self, *faults: Fault | None) -> None:
        self.server.faults.extend(faults)

    def check(self, *payloads: Payload) -> None:
        """Each lead is there once, as it was sent last, and nothing else is.

        Raises:
            Wrong: one is missing, doubled or different.
        """
        self.server.faults.clear()
        self.crm.lag = 0
        records = self.records()
        for payload in payloads:
            ours = [record for record in records if record.get(self.crm.our_id, "").endswith(_tail(payload))]
            if len(ours) != 1:
                raise Wrong(f"{len(ours)} records of one lead")
            for name, value in payload.values.items():
                has = ours[0].get(name, "")
                if name in self.crm.fields and not self.speaker.connector.agrees(name, value, has):
                    raise Wrong(f"{name} is not what was sent")
        if len(records) != len(payloads):
            raise Wrong(f"{len(records)} records of {len(payloads)} leads")

    def records(self) -> list[Mapping[str, str]]:
        """What is in the CRM."""
        vendor = self.server.vendor
        if isinstance(vendor, GoogleSheetsFake):
            head = vendor.rows[0] if vendor.rows else []
            vendor.crm.fields = {name: CrmField(name, name) for name in head}
            return [dict(zip(head, row, strict=False)) for row in vendor.rows[1:] if any(row)]
        return [record.values for record in self.crm.live()]

    def needs(self, is_there: object, why: str) -> None:
        if not is_there:
            raise NotApplicable(why)


def _tail(payload: Payload) -> str:
    """Our id as each CRM writes it: one of them takes no hyphens."""
    return payload.external_id[-12:]
