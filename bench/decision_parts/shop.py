"""An installation with many live ads, and its server in a process of its own."""

import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.fairness_parts.installation import HOST, free_port, wait_until_open
from contatto.accounts import actions as accounts
from contatto.accounts.actions import NewAdAccount
from contatto.accounts.model import Permission
from contatto.accounts.store import list_businesses
from contatto.ads.actions.campaigns import (
    NewAd,
    NewAdGroup,
    NewCampaign,
    create_ad,
    create_ad_group,
    create_campaign,
)
from contatto.app import create_app, open_context
from contatto.channels.actions import NewAccount, connect_account
from contatto.channels.model import Platform
from contatto.cli.serve import Serving
from contatto.delivery.actions.training import Trainer
from contatto.kit.db.tx import Tx
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.measurement.model import Goal
from contatto.migrations.steps import migrate_schema
from contatto.wiring import install

BUDGET_MICROS: Final = 1_000_000_000_000
FEATURES: Final = ("tea", "oak", "sea", "cats", "rain", "trains")


@dataclass(frozen=True)
class Shop:
    """A server: its port, and the token for requests to it."""

    home: Path
    port: int
    token: str
    pid: int


@contextmanager
def running_shop(home: Path, ads: int, ad_groups: int) -> Iterator[Shop]:
    """Make the business and serve it, with one worker process and as `contatto serve` does."""
    token = _open_shop(home, ads, ad_groups)
    port = free_port()
    code = f"from bench.decision_parts.shop import serve; serve({str(home)!r}, {port})"
    server = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_until_open(port)
        yield Shop(home, port, token, server.pid)
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _open_shop(home: Path, ads: int, ad_groups: int) -> str:
    context = open_context(install(Settings(data_dir=home)))
    migrate_schema(context.db.engine)

    def work(tx: Tx) -> str:
        business = accounts.create_business(tx, "Kopi")
        account = accounts.add_ad_account(
            tx, business.id, NewAdAccount("Kopi", "SG", "SGD", "Asia/Singapore")
        )
        channel = connect_account(tx, business.id, NewAccount(Platform.WEBCHAT, "", "Kopi", "kopi", "SG"))
        campaign = create_campaign(tx, business.id, NewCampaign(account.id, "Kopi"))
        groups = [
            create_ad_group(
                tx,
                business.id,
                NewAdGroup(
                    campaign.id, f"Group {number}", Goal.CONVERSATION, ("SG",), channel.id,
                    budget_micros=BUDGET_MICROS,
                ),
            )
            for number in range(ad_groups)
        ]  # fmt: skip
        for number in range(ads):
            create_ad(tx, business.id, NewAd(groups[number % ad_groups].id, f"Ad {number}", "Write to us"))
        return accounts.issue_token(tx, business.id, "bench", [Permission.READ_ADS.value])[1]

    token = context.db.write_now(work)
    context.db.close()
    return token


def serve(home: str, port: int) -> None:
    """Run the server's process, as `contatto serve` with a worker elsewhere."""
    set_up_logs("warning", "json")
    settings = Settings(data_dir=Path(home), host=HOST, port=port, worker="separate")
    context = open_context(install(settings))
    Serving(context, create_app(context)).run()
    context.db.close()


def issue_token(home: Path) -> str:
    """Another token of the business that lives there."""
    context = open_context(install(Settings(data_dir=home)))

    def work(tx: Tx) -> str:
        (business,) = list_businesses(tx)
        return accounts.issue_token(tx, business.id, "parts", [Permission.READ_ADS.value])[1]

    token = context.db.write_now(work)
    context.db.close()
    return token


def publish_model(home: Path) -> int:
    """Learn what was decided, as the worker does, and publish it; how many steps that took comes back."""
    context = open_context(install(Settings(data_dir=home)))
    trainer, steps = Trainer(14, is_hasty=True), 0
    trainer.start_over()
    while (keep := context.db.read_now(trainer.read_next)) is not None:
        context.db.write_now(keep)
        steps += 1
    context.db.close()
    return steps


def make_requests(token: str, count: int) -> list[bytes]:
    """Whole requests for an ad: half of the viewers consent and come again."""
    chance = random.Random(1)
    requests = []
    for number in range(count):
        asked: dict[str, Any] = {
            "viewer_id": f"v{chance.randrange(5_000)}",
            "country": "SG",
            "language": "en",
            "age": 18 + chance.randrange(50),
            "placement": "feed",
            "device": "phone" if chance.random() < 0.7 else "desktop",
            "features": {"follows": chance.sample(FEATURES, 2), "hours": chance.random() * 24.0},
            "consent": number % 2 == 0,
        }
        body = msgspec.json.encode(asked)
        head = (
            f"POST /delivery/decide HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nAccess-Token: {token}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests
