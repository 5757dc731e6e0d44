"""A program that takes signed webhooks, as receivers do: it checks the signature and leaves out copies."""

from datetime import UTC, datetime

from contatto.crm.connectors.webhook import ERASED, sign_event
from contatto.crm.model import CrmField
from contatto.simulator.crms.memory import MemoryCrm
from contatto.simulator.crms.server import Answered, Asked

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - of a receiver in memory
_OUR_ID = "id"


class WebhookReceiver:
    """Keeps one record for each lead, and takes any field."""

    def __init__(self) -> None:
        names = (_OUR_ID, "email", "phone", "name", "note")
        self.crm = MemoryCrm({name: CrmField(name, name) for name in names}, _OUR_ID)
        self.seen: set[str] = set()

    def expired(self) -> Answered:
        return Answered(503)

    def throttled(self, after_s: int) -> Answered:
        return Answered(429, None, {"retry-after": str(after_s)})

    def answer(self, asked: Asked) -> Answered:
        message_id, at = asked.headers.get("webhook-id", ""), asked.headers.get("webhook-timestamp", "0")
        signature = sign_event(SECRET, message_id, int(at), asked.body)
        if signature not in asked.headers.get("webhook-signature", "").split():
            return Answered(401)
        if abs(datetime.now(UTC).timestamp() - int(at)) > 300:
            return Answered(400)
        if message_id not in self.seen:
            self.seen.add(message_id)
            self._take(asked)
        return Answered(204)

    def _take(self, asked: Asked) -> None:
        event = asked.json()
        known = self.crm.find(_OUR_ID, event["data"]["id"], at_once=True)
        if event["type"] == ERASED:
            for record in known:
                self.crm.delete(record.id)
            return
        values = {_OUR_ID: event["data"]["id"], "note": event["data"]["note"], **event["data"]["fields"]}
        fields = {name: value for name, value in values.items() if name in self.crm.fields}
        if known:
            self.crm.change(known[0], fields)
        else:
            self.crm.make(fields)
