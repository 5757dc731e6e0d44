"""The CRM of the demo world: an Odoo in memory that leads go to, and in which people move them on."""

import asyncio
import random
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contatto.crm.actions.targets import NewTarget, link_crm, reconnect_target
from contatto.crm.model import Target
from contatto.crm.store.targets import list_targets
from contatto.kit.db.tx import Tx
from contatto.simulator.crms import odoo
from contatto.simulator.crms.memory import StoredRecord
from contatto.simulator.crms.server import Asked
from contatto.simulator.home import write_private

CRM_PATH: Final = "/simulated/odoo"
"""Where the demo's own Odoo stands."""
NAME: Final = "Odoo of this demo"
_LOOKS_EVERY_S: Final = 5.0
_ACTS_IN: Final = 4
"""One look in so many ends with a record that is moved on."""
_NEXT: Final = {"New": "Qualified", "Qualified": "Won"}


class _Kept(msgspec.Struct):
    """What the file of the CRM holds."""

    ticks: int
    records: dict[str, StoredRecord]


class LinkedCrm:
    """The records, the address that the connector speaks to, and those who work there."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._vendor = odoo.OdooFake()
        self._saved = 0
        with suppress(OSError, msgspec.MsgspecError):  # else it is a new CRM, and leads come again
            kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
            self._vendor.crm.ticks, self._vendor.crm.records = kept.ticks, kept.records
        self.route = Route(f"{CRM_PATH}/{{path:path}}", self.answer, methods=["POST"])

    async def answer(self, request: Request) -> Response:
        """Answer as Odoo does."""
        path = f"/{request.path_params['path']}"
        asked = Asked("POST", path, request.query_params, request.headers, await request.body())
        answered = self._vendor.answer(asked)
        return JSONResponse(answered.body, answered.status)

    def link(self, tx: Tx, business_id: str, base_url: str, allowed: tuple[str, ...]) -> Target:
        """Link it to a business, or again after the demo has moved to another port."""
        address = f"{base_url}{CRM_PATH}"
        for target in list_targets(tx, business_id):
            if target.name == NAME:
                if target.address != address:
                    reconnect_target(tx, target, address, target.settings, allowed)
                return target
        given = {"database": odoo.DATABASE, "user": odoo.USER, "password": odoo.KEY}
        return link_crm(tx, business_id, NewTarget("odoo", NAME, address, given), allowed)

    async def work(self, rng: random.Random) -> None:
        """Move a record on now and then, as people of the sales team do; keep what is there in the file."""
        while True:
            await asyncio.sleep(_LOOKS_EVERY_S)
            if rng.randrange(_ACTS_IN) == 0:
                self.move_on(rng)
            self.save()

    def move_on(self, rng: random.Random) -> None:
        """One record goes to its next stage; what was won has a value."""
        open_ones = [each for each in self._vendor.crm.live() if each.values.get(odoo.STAGE, "New") in _NEXT]
        if not open_ones:
            return
        record = rng.choice(open_ones)
        record.values[odoo.STAGE] = _NEXT[record.values.get(odoo.STAGE, "New")]
        if record.values[odoo.STAGE] == "Won":
            record.values[odoo.REVENUE] = str(rng.randrange(40, 160) * 100)
        record.changed_at = self._vendor.crm.now()

    def save(self) -> None:
        """Keep the records, if something was changed since the last time."""
        crm = self._vendor.crm
        if crm.ticks != self._saved:
            write_private(self._file, _Kept(crm.ticks, crm.records))
            self._saved = crm.ticks
