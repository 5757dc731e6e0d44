"""Real chat lines, through signed webhooks of a real app, every one twice and out of order."""

import asyncio
import json
import os
import random
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from contatto.app import create_app, open_context
from contatto.capture.actions import turn_on_capture
from contatto.capture.rules import detect_contacts
from contatto.channels.actions import NewAccount, connect_account, register_app
from contatto.channels.connectors.tiktok import sign_body
from contatto.channels.model import ChannelAccount, ChannelApp, Platform
from contatto.inbox.actions.incoming import conversation_id_of, person_id_of, settle_receipts
from contatto.inbox.store.conversations import count_receipts
from contatto.inbox.store.messages import list_messages
from contatto.kit.db.tx import Tx
from contatto.kit.settings import Settings
from contatto.leads.rules.records import LeadFilter
from contatto.leads.store.listing import list_contact_points, list_leads
from contatto.ui.requests import Context
from contatto.wiring import install
from tests import make
from tests.schema import copy_schema

OWN = Path(__file__).parent.parent / "fixtures" / "capture" / "messages.jsonl"
FURTHER = [Path(path) for path in os.environ.get("CONTATTO_TEST_LINES", "").split(os.pathsep) if path]
"""More files of lines, which whoever has them may name; ours are enough."""
SECRET = "the app's secret"


@dataclass(frozen=True, slots=True)
class Line:
    id: str
    country: str
    text: str

    @property
    def contacts(self) -> set[tuple[str, str]]:
        """What the detector itself finds."""
        return {(match.field.value, match.value) for match in detect_contacts(self.text, self.country)}


def read_lines(path: Path) -> list[Line]:
    documents = [json.loads(line) for line in path.read_text().splitlines()]
    return [Line(document["id"], document["country"], document["text"]) for document in documents]


def build_shop(tx: Tx, countries: set[str]) -> tuple[str, dict[str, ChannelAccount]]:
    """A business with an account in each country."""
    owner = make.business(tx).id
    register_app(tx, ChannelApp("app-1", owner, Platform.TIKTOK, SECRET))
    accounts = {}
    for country in countries:
        new = NewAccount(Platform.TIKTOK, f"tt-{country}", "Kopi", "kopi", country)
        accounts[country] = connect_account(tx, owner, new)
        turn_on_capture(tx, owner, accounts[country].id, make.COMPANY)
    return owner, accounts


def delivery_of(line: Line) -> bytes:
    content = make.said(line.text, user=line.id, message_id=f"message {line.id}")
    return make.webhook("im_receive_msg", content, user_openid=f"tt-{line.country}")


async def post_all(context: Context, bodies: list[bytes]) -> list[int]:
    transport = httpx2.ASGITransport(create_app(context))
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:

        async def post(body: bytes) -> int:
            now = int(context.clock.now().timestamp())
            headers = {"TikTok-Signature": sign_body(body, SECRET, now)}
            answer = await client.post("/webhooks/tiktok/app-1", content=body, headers=headers)
            return answer.status_code

        codes: list[int] = []
        for start in range(0, len(bodies), 100):  # together, as a platform's own workers would
            codes += await asyncio.gather(*(post(body) for body in bodies[start : start + 100]))
            await context.db.write(lambda tx: settle_receipts(tx, 30))
        return codes


@pytest.mark.parametrize("path", [OWN, *FURTHER], ids=lambda path: path.stem)
def test_every_line_is_stored_once_and_makes_the_leads_that_the_detector_finds(
    path: Path, tmp_path: Path
) -> None:
    lines = read_lines(path)
    assert len(lines) >= 300
    copy_schema(tmp_path / "contatto.sqlite3")
    context = open_context(install(Settings(data_dir=tmp_path, worker="separate")))
    try:
        owner, accounts = context.db.write_now(lambda tx: build_shop(tx, {line.country for line in lines}))
        bodies = [delivery_of(line) for line in lines] * 2
        random.Random(1).shuffle(bodies)  # noqa: S311
        assert set(asyncio.run(post_all(context, bodies))) == {200}
        while context.db.write_now(settle_receipts):
            pass
        context.db.read_now(lambda tx: check_outcome(tx, owner, accounts, lines))
    finally:
        context.db.close()


def check_outcome(tx: Tx, owner: str, accounts: dict[str, ChannelAccount], lines: list[Line]) -> None:
    ledger = count_receipts(tx, owner)
    assert (ledger.received, ledger.stored, ledger.merged) == (2 * len(lines), len(lines), len(lines))
    assert (ledger.refused, ledger.waiting, ledger.reasons) == (0, 0, {})
    leads = {lead.person_id: lead for lead in list_leads(tx, owner, LeadFilter(), limit=10_000)}
    points = list_contact_points(tx, owner, {lead.id for lead in leads.values()})
    for line in lines:
        account = accounts[line.country]
        thread = list_messages(tx, owner, conversation_id_of(account, f"conversation of {line.id}"))
        assert [message.text for message in thread] == [line.text]
        lead = leads.pop(person_id_of(tx.vault, account, line.id), None)
        kept = {(point.field.value, point.value) for point in points[lead.id]} if lead else set()
        assert kept == line.contacts, line.id
    assert leads == {}
