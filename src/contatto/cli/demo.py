"""`contatto demo`: a world to try things in, with days of history, served until Ctrl+C."""

import asyncio
import random
import socket
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.channels.model import Platform
from contatto.cli.installation import bring_up_to_date, read_settings
from contatto.cli.serve import Serving
from contatto.kit.db.database import open_storage
from contatto.kit.db.tx import FixedClock
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.measurement.model import Goal
from contatto.simulator.demo import (
    CRM,
    LOG,
    NOTES,
    PLATFORM_PATH,
    DemoFolder,
    FolderInUse,
    LinkedCrm,
    routes,
    write_private,
)
from contatto.simulator.history import HistoryStage, make_history
from contatto.simulator.traffic import DAY_S, MemberSession, VisitPlayer, connect, play_live
from contatto.simulator.world import TIMEZONE, DemoWorld, PlannedVisitor, plan_people
from contatto.ui.requests import Context
from contatto.wiring import PORTS, install

DATA_DIR: Final = Path(".contatto/demo")
HOST: Final = "127.0.0.1"
SEED: Final = 20251
DAYS: Final = 4
PEOPLE: Final = 1_000
"""People of a day: enough that delivery learns both goals in the days of history."""
TRY_THIS: Final = "my number is +65 8123 4567"
_out = Console(highlight=False)


def demo_command(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    ready_file: Annotated[
        Path | None,
        typer.Option(help="JSON file that is written when the world is ready: addresses and keys."),
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=30, help="Whole days of history, before today.")] = DAYS,
    people: Annotated[int, typer.Option(min=1, max=100_000, help="People of a day.")] = PEOPLE,
    seed: Annotated[int, typer.Option(help="The same seed makes the same people.")] = SEED,
    no_live: Annotated[
        bool, typer.Option("--no-live", help="No new people once the world is ready.")
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Forget the world in the folder, make a new one.")
    ] = False,
) -> None:
    """Make a world to try things in, with some days of traffic, and serve it until Ctrl+C.

    It lies in .contatto/demo where no data folder is chosen.
    """
    chosen = read_settings()
    home = DemoFolder(chosen.data_dir if "data_dir" in chosen.model_fields_set else DATA_DIR)
    try:
        with home.locked(), closing(socket.socket(socket.AF_INET, socket.SOCK_STREAM)) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            wanted_port = chosen.port if port is None else port
            try:
                listener.bind((HOST, wanted_port))
            except OSError:
                listener.bind((HOST, 0))
                _out.print(
                    f"Port {wanted_port} is taken, so this world is on port {listener.getsockname()[1]}."
                )
            world = home.load_world()
            is_unfinished = world is None and (home.folder / NOTES).exists()
            if is_unfinished:
                _out.print("The world in this folder was not finished, so it is made anew.")
            if fresh or is_unfinished:
                home.clear()
                world = None
            own_port = listener.getsockname()[1]
            settings = Settings(
                data_dir=home.folder,
                database_url="",
                base_url=f"http://{HOST}:{own_port}",
                host=HOST,
                port=own_port,
                secret_keys=(),
                worker="in_process",
                platform_urls={Platform.TIKTOK.value: f"http://{HOST}:{own_port}{PLATFORM_PATH}"},
                allowed_hosts=(f"{HOST}:*", "localhost:*"),
                new_visitors_per_hour=0,  # the people of the world all come from this machine
            )
            # A new world starts with its history; one that goes on, at the last midnight.
            starts_at = datetime.now(ZoneInfo(TIMEZONE)).replace(hour=0, minute=0, second=0, microsecond=0)
            if world is None:
                write_private(home.folder / NOTES, None)  # one is being made
                starts_at -= timedelta(days=days)
            else:
                seed = random.randrange(2**32)  # noqa: S311  # it makes up people
            planned = plan_people(seed, people * (days + 1), (days + 1) * DAY_S)
            plan = LivePlan(starts_at, days + 1, planned)
            with (home.folder / LOG).open("a", encoding="utf-8") as log:
                set_up_logs(settings.log_level, settings.log_format, log)
                if world is None:
                    world, plan.people = _make_world(settings, seed, plan)
                    write_private(home.folder / NOTES, world)
                context = open_context(install(settings))
                with closing(context.db):
                    bring_up_to_date(context.db)
                    settings.record_address()
                    _serve_world(home, context, world, listener, ready_file, None if no_live else plan)
    except FolderInUse as error:
        _out.print(str(error))
        raise typer.Exit(1) from error


@dataclass(slots=True)
class LivePlan:
    """Planned visitors of several days, from a midnight on."""

    starts_at: datetime
    days: int
    people: list[PlannedVisitor]


def _make_world(settings: Settings, seed: int, plan: LivePlan) -> tuple[DemoWorld, list[PlannedVisitor]]:
    """Create the world and play its history; return it with the visitors who may still tap an ad."""
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    refresh: Any = {"transient": True, "refresh_per_second": 2}
    with Progress(*columns, TimeElapsedColumn(), console=_out, **refresh) as bar:
        task = bar.add_task("Playing the last days", total=1.0)
        clock, until = FixedClock(plan.starts_at.astimezone(UTC)), datetime.now(UTC)
        with closing(open_storage(settings, clock, PORTS)) as db:
            bring_up_to_date(db)
            stage = HistoryStage(db, clock, install(settings))
            history = make_history(
                stage, seed, plan.people, until, lambda share: bar.update(task, completed=share)
            )
    _out.print(f"Days of history: {plan.days - 1} and today, in {time.perf_counter() - started:.0f} seconds.")
    parts = []
    for result in history.results:
        part = f"{result.goal.value}: {result.views:,} views, {result.chats:,} chats, {result.leads:,} leads"
        if result.leads:
            part += f", {result.currency} {result.spend_micros / result.leads / 1e6:.2f} per lead"
        parts.append(part)
    _out.print(
        f"Both goals have the same four ads. {'; '.join(parts)}. What people do depends on them and on "
        "the ad, never on the goal: what differs is what delivery learned, and chance. "
        "See Ads Manager, What delivery learned."
    )
    return history.world, history.staying


def _serve_world(
    home: DemoFolder,
    context: Context,
    world: DemoWorld,
    listener: socket.socket,
    ready_file: Path | None,
    plan: LivePlan | None,
) -> None:
    """Serve until a signal or an error: link the CRM, print a summary, and play the visitors of a plan."""
    app, crm = create_app(context), LinkedCrm(home.folder / CRM)
    app.router.routes.extend((*routes, crm.route))
    serving = Serving(context, app, proxy_headers=False, timeout_graceful_shutdown=2)
    base_url, hosts = context.settings.base_url, context.settings.allowed_hosts

    async def play() -> None:
        await serving.until_started()
        try:
            await context.db.write(lambda tx: crm.link(tx, world.business_id, base_url, hosts))
            places = Table.grid(padding=(0, 3, 0, 2))
            for name, path in (
                ("Home", "/home"),
                ("Inbox", "/inbox"),
                ("Leads Center", "/leads"),
                ("Report", "/reports"),
                ("Ads Manager", "/ads"),
                ("CRM", "/settings/integrations"),
            ):
                places.add_row(name, f"{base_url}{path}")
            own_chat = (Goal.LEAD, Platform.WEBCHAT)
            chat_path = next(ad.chat_path for ad in world.ads if (ad.goal, ad.platform) == own_chat)
            people = Table.grid(padding=(0, 3, 0, 2))
            for login in world.logins:
                people.add_row(login.role, login.email, f"[bold]{login.password}[/bold]")
            _out.print(f"\n[bold]{world.business_name}[/bold] is open at [bold]{base_url}[/bold]\n")
            _out.print(places)
            _out.print("\nLog in as one of these")
            _out.print(people)
            _out.print(f"\nadvertiser_id {world.advertiser_id}, log in {home.folder / LOG}")
            _out.print(f'\nTry this: open the chat of an ad, write "{TRY_THIS}", and watch the Leads Center.')
            _out.print(f"{base_url}{chat_path}", soft_wrap=True)
            _out.print("\nCtrl+C ends it. The next start goes on with this world; --fresh makes a new one.")
            if ready_file:
                ready_values: dict[str, Any] = {  # for scripts that drive the world
                    "base_url": base_url,
                    "login_url": f"{base_url}/login",
                    "chat_url": f"{base_url}{chat_path}",
                    "webhook_url": f"{base_url}/webhooks/tiktok/{world.app_id}",
                    "business_id": world.business_id,
                    "business_name": world.business_name,
                    "advertiser_id": world.advertiser_id,
                    "page_id": world.page_id,
                    "auto_message_id": world.auto_message_id,
                    "access_token": world.access_token,
                    "app_id": world.app_id,
                    "app_secret": world.app_secret,
                    "tiktok_business_id": world.accounts[Platform.TIKTOK].external_id,
                    "logins": [
                        {"role": login.role, "email": login.email, "password": login.password}
                        for login in world.logins
                    ],
                    "channel_account_ids": {
                        platform.value: account.id for platform, account in world.accounts.items()
                    },
                    "ad_groups": [
                        {
                            "adgroup_id": ad.adgroup_id,
                            "name": ad.adgroup_name,
                            "goal": ad.goal,
                            "platform": ad.platform,
                        }
                        for ad in {ad.adgroup_id: ad for ad in world.ads}.values()
                    ],
                    "ads": [
                        {
                            "ad_id": ad.ad_id,
                            "adgroup_id": ad.adgroup_id,
                            "chat_url": f"{base_url}{ad.chat_path}",
                        }
                        for ad in world.ads
                    ],
                }
                write_private(ready_file, ready_values)
            if plan is not None:
                async with connect(base_url) as open_browser:
                    owner = next(login for login in world.logins if login.role == Role.OWNER)
                    member = MemberSession(open_browser(), owner)
                    visits = VisitPlayer(open_browser, world, member, context.clock, context.vault)
                    rng = random.Random()  # noqa: S311  # it makes up what the sales team does
                    live = play_live(visits, plan.people, plan.starts_at, plan.days)
                    await asyncio.gather(live, crm.work(rng))
            await asyncio.Event().wait()
        finally:
            crm.save()

    serving.run(play(), [listener])
