"""A business whose CRM is linked, with a lead that is due there, and a CRM that fails now and then."""

import json
from typing import Any

from contatto.capture.model import Field
from contatto.crm.model import Target
from contatto.kit.db.tx import Tx
from contatto.kit.outbound.model import HttpOutcome, HttpRequest, SendFailure
from contatto.leads.model import Lead
from tests import make
from tests.crm.engine import fresh, link, run_all, with_memory
from tests.crm.memory import MemoryCrm

EMAIL = make.contact("ada@example.com", Field.EMAIL)
PHONE = make.contact()
LOST = SendFailure.LOST


class Faulty:
    """A CRM that does something else now and then: what a fate says to a request, or None to be as usual."""

    def __init__(self, crm: MemoryCrm, **fates: Any) -> None:
        self.crm = crm
        self.fates = {name: list(each) for name, each in fates.items()}
        self.asked: list[str] = []

    def __call__(self, request: HttpRequest) -> HttpOutcome:
        do = json.loads(request.body)["do"]
        self.asked.append(do)
        waiting = self.fates.get(do, [])
        fate = waiting.pop(0) if waiting else None
        if fate == "lost after":
            self.crm.handle(request)
            return LOST
        if fate == "lost before":
            return LOST
        return fate if fate is not None else self.crm.handle(request)


def begun(tx: Tx, *contacts: Any) -> tuple[Tx, Target, Lead, MemoryCrm]:
    tx = with_memory(tx)
    business_id = make.business(tx).id
    crm = MemoryCrm()
    target = link(tx, business_id)
    run_all(tx, crm.handle)
    lead = make.lead(tx, business_id, *(contacts or (EMAIL, PHONE)))
    return tx, fresh(tx, target), lead, crm


def only(crm: MemoryCrm) -> Any:
    (found,) = crm.live()
    return found
