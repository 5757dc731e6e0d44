"""Folder, ad platform and CRM of a demo world."""

import asyncio
import os
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from contatto.crm.actions.targets import NewTarget, link_crm, reconnect_target
from contatto.crm.model import Target
from contatto.crm.store.deliveries import list_targets
from contatto.kit.db.tx import Tx
from contatto.kit.ids import new_id
from contatto.kit.vault import KEY_FILE
from contatto.simulator.crms.self_hosted import (
    ODOO_DATABASE,
    ODOO_KEY,
    ODOO_REVENUE,
    ODOO_STAGE,
    ODOO_USER,
    OdooFake,
)
from contatto.simulator.crms.server import StoredRecord, VendorRequest
from contatto.simulator.world import DemoWorld

NOTES: Final = "demo.json"
LOG: Final = "demo.log"
CRM: Final = "crm.json"
_LOCK: Final = "demo.lock"
_DATABASE: Final = "contatto.sqlite3"
_DEMO_FILES: Final = (_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm", KEY_FILE, CRM, NOTES, LOG)


class FolderInUse(Exception):
    """A folder with another installation, or with a demo that runs."""


@dataclass(frozen=True)
class DemoFolder:
    """The folder of a demo; clearing removes only what a demo made."""

    folder: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other demos out; the lock goes with the process. Raises FolderInUse: another demo runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.folder / _LOCK, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            connection.close()
            raise FolderInUse(f"Another demo runs in {self.folder}.") from error
        try:
            yield
        finally:
            connection.close()

    def load_world(self) -> DemoWorld | None:
        """Return the world in the folder. Raises FolderInUse: no demo made the database there.

        None is no world; notes without one are of a world that is not finished.
        """
        notes = self.folder / NOTES
        if notes.exists():
            with suppress(msgspec.MsgspecError):  # of another release, or cut off: it is made anew
                return msgspec.json.decode(notes.read_bytes(), type=DemoWorld | None)
        elif (self.folder / _DATABASE).exists():
            raise FolderInUse(f"{self.folder} holds an installation that is no demo; choose another folder.")
        return None

    def clear(self) -> None:
        """Remove the demo's files; the notes go last, so that an interrupted removal is finished."""
        for name in sorted(_DEMO_FILES, key=lambda file_name: file_name == NOTES):
            (self.folder / name).unlink(missing_ok=True)


def write_private(path: Path, content: Any) -> None:
    """Write JSON that only its owner may read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
    fresh.replace(path)


PLATFORM_PATH: Final = "/simulated/tiktok"
"""Path of the demo's own TikTok, in place of the real one."""


async def take_message(request: Request) -> Response:
    """Accept a message, and answer with its new id."""
    message = {"message": {"message_id": new_id()}}
    return JSONResponse({"code": 0, "message": "OK", "request_id": new_id(), "data": message})


routes: Final = (
    Route(f"{PLATFORM_PATH}/open_api/v1.3/business/message/send/", take_message, methods=["POST"]),
)


CRM_PATH: Final = "/simulated/odoo"
"""Path of the demo's own Odoo."""
NAME: Final = "Odoo of this demo"
_LOOKS_EVERY_S: Final = 5.0
_ACTS_IN: Final = 4
"""One of this many rounds moves a record on."""
_NEXT: Final = {"New": "Qualified", "Qualified": "Won"}


class _CrmFile(msgspec.Struct):
    """Content of the CRM's file."""

    ticks: int
    records: dict[str, StoredRecord]


class LinkedCrm:
    """The demo's Odoo: its records, its route, and the sales team that works in it."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._vendor = OdooFake()
        self._saved = 0
        with suppress(OSError, msgspec.MsgspecError):  # else it is a new CRM, and leads come again
            saved = msgspec.json.decode(file.read_bytes(), type=_CrmFile)
            self._vendor.crm.ticks, self._vendor.crm.records = saved.ticks, saved.records
        self.route = Route(f"{CRM_PATH}/{{path:path}}", self.answer, methods=["POST"])

    async def answer(self, request: Request) -> Response:
        path = f"/{request.path_params['path']}"
        vendor_request = VendorRequest(
            "POST", path, request.query_params, request.headers, await request.body()
        )
        response = self._vendor.answer(vendor_request)
        return JSONResponse(response.body, response.status)

    def link(self, tx: Tx, business_id: str, base_url: str, allowed: tuple[str, ...]) -> Target:
        """Link it to a business, or again after the demo has moved to another port."""
        address = f"{base_url}{CRM_PATH}"
        for target in list_targets(tx, business_id):
            if target.name == NAME:
                if target.address != address:
                    reconnect_target(tx, target, address, target.settings, allowed)
                return target
        credentials = {"database": ODOO_DATABASE, "user": ODOO_USER, "password": ODOO_KEY}
        return link_crm(tx, business_id, NewTarget("odoo", NAME, address, credentials), allowed)

    async def work(self, rng: random.Random) -> None:
        """Move a record to its next stage now and then, as a sales team does; a won one has a value."""
        while True:
            await asyncio.sleep(_LOOKS_EVERY_S)
            crm = self._vendor.crm
            open_ones = [record for record in crm.live() if record.values.get(ODOO_STAGE, "New") in _NEXT]
            if rng.randrange(_ACTS_IN) == 0 and open_ones:
                record = rng.choice(open_ones)
                record.values[ODOO_STAGE] = _NEXT[record.values.get(ODOO_STAGE, "New")]
                if record.values[ODOO_STAGE] == "Won":
                    record.values[ODOO_REVENUE] = str(rng.randrange(40, 160) * 100)
                record.changed_at = crm.next_time()
            self.save()

    def save(self) -> None:
        """Save the records if they have changed."""
        crm = self._vendor.crm
        if crm.ticks != self._saved:
            write_private(self._file, _CrmFile(crm.ticks, crm.records))
            self._saved = crm.ticks
