"""`contatto demo`: a world to try things in, with days of history, served until Ctrl+C."""

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
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
from contatto.simulator.demo import (
    PLATFORM_PATH,
    DemoFolder,
    FolderInUse,
    FolderState,
    LinkedCrm,
    routes,
    write_private,
)
from contatto.simulator.history import HistoryStage, make_history
from contatto.simulator.traffic import DAY_S, HttpClient, MemberSession, VisitPlayer, play_live
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


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the command line."""

    port: int
    data_dir: Path
    ready_file: Path | None
    days: int
    people: int
    seed: int
    live: bool
    fresh: bool


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
    settings = read_settings()
    data_dir = settings.data_dir if "data_dir" in settings.model_fields_set else DATA_DIR
    chosen_port = settings.port if port is None else port
    options = Options(chosen_port, data_dir, ready_file, days, people, seed, not no_live, fresh)
    home = DemoFolder(data_dir)
    try:
        with home.locked(), _listening(options.port) as listener:
            _serve_world(home, options, listener)
    except FolderInUse as error:
        _out.print(str(error))
        raise typer.Exit(1) from error


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """Listen on the requested port, or on a free one when that is taken."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        try:
            listener.bind((HOST, port))
        except OSError:
            listener.bind((HOST, 0))
            _out.print(f"Port {port} is taken, so this world is on port {listener.getsockname()[1]}.")
        yield listener
    finally:
        listener.close()


def _serve_world(home: DemoFolder, options: Options, listener: socket.socket) -> None:
    state, world = home.read_state()
    if state is FolderState.SEEDING:
        _out.print("The world in this folder was not finished, so it is made anew.")
    if options.fresh or state is FolderState.SEEDING:
        home.clear()
        world = None
    if world is None:
        home.write_state(FolderState.SEEDING, None)
    port = listener.getsockname()[1]
    settings = Settings(
        data_dir=options.data_dir,
        database_url="",
        base_url=f"http://{HOST}:{port}",
        host=HOST,
        port=port,
        secret_keys=(),
        worker="in_process",
        platform_urls={Platform.TIKTOK.value: f"http://{HOST}:{port}{PLATFORM_PATH}"},
        allowed_hosts=(f"{HOST}:*", "localhost:*"),
        new_visitors_per_hour=0,  # the people of the world all come from this machine
    )
    with home.log.open("a", encoding="utf-8") as log:
        set_up_logs(settings.log_level, settings.log_format, log)
        # A new world starts with its history; one that goes on, at the last midnight.
        days, seed = options.days + 1, options.seed
        starts_at = datetime.now(ZoneInfo(TIMEZONE)).replace(hour=0, minute=0, second=0, microsecond=0)
        if world is None:
            starts_at -= timedelta(days=options.days)
        else:
            seed = random.randrange(2**32)  # noqa: S311  # it makes up people
        plan = LivePlan(starts_at, days, plan_people(seed, options.people * days, days * DAY_S))
        if world is None:
            world, plan.people = _make_world(settings, options, plan)
            home.write_state(FolderState.READY, world)
        context = open_context(install(settings))
        try:
            bring_up_to_date(context.db)
            settings.record_address()
            Demo(home, options, context, world).serve(listener, plan)
        finally:
            context.db.close()


@dataclass(slots=True)
class LivePlan:
    """Planned visitors of several days, from a midnight on."""

    starts_at: datetime
    days: int
    people: list[PlannedVisitor]


def _make_world(
    settings: Settings, options: Options, plan: LivePlan
) -> tuple[DemoWorld, list[PlannedVisitor]]:
    """Create the world and play its history; return it with the visitors who may still tap an ad."""
    started = time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    refresh: Any = {"transient": True, "refresh_per_second": 2}
    with Progress(*columns, TimeElapsedColumn(), console=_out, **refresh) as bar:
        task = bar.add_task("Playing the last days", total=1.0)
        clock, until = FixedClock(plan.starts_at.astimezone(UTC)), datetime.now(UTC)
        db = open_storage(settings, clock, PORTS)
        try:
            bring_up_to_date(db)
            stage = HistoryStage(db, clock, install(settings))
            history = make_history(
                stage, options.seed, plan.people, until, lambda share: bar.update(task, completed=share)
            )
        finally:
            db.close()
    _out.print(f"Days of history: {options.days} and today, in {time.perf_counter() - started:.0f} seconds.")
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


class Demo:
    """One run of the demo: the server and its live visitors."""

    def __init__(self, home: DemoFolder, options: Options, context: Context, world: DemoWorld) -> None:
        self.home, self.options, self.context, self.world = home, options, context, world
        app = create_app(context)
        self.crm = LinkedCrm(home.crm)
        app.router.routes.extend((*routes, self.crm.route))
        self.serving = Serving(context, app, proxy_headers=False, timeout_graceful_shutdown=2)

    def serve(self, listener: socket.socket, plan: LivePlan) -> None:
        """Serve until a signal or an error."""
        self.serving.run(self._play(plan), [listener])

    async def _play(self, plan: LivePlan) -> None:
        """Link the CRM, print the summary, and play visitors until the server stops."""
        await self.serving.until_started()
        settings, world = self.context.settings, self.world
        browser = HttpClient(HOST, settings.port)
        try:
            hosts = settings.allowed_hosts
            await self.context.db.write(
                lambda tx: self.crm.link(tx, world.business_id, settings.base_url, hosts)
            )
            places = Table.grid(padding=(0, 3, 0, 2))
            for name, path in (
                ("Home", "/home"),
                ("Inbox", "/inbox"),
                ("Leads Center", "/leads"),
                ("Report", "/reports"),
                ("Ads Manager", "/ads"),
                ("CRM", "/settings/integrations"),
            ):
                places.add_row(name, f"{settings.base_url}{path}")
            people = Table.grid(padding=(0, 3, 0, 2))
            for login in world.logins:
                people.add_row(login.role, login.email, f"[bold]{login.password}[/bold]")
            _out.print(f"\n[bold]{world.business_name}[/bold] is open at [bold]{settings.base_url}[/bold]\n")
            _out.print(places)
            _out.print("\nLog in as one of these")
            _out.print(people)
            _out.print(f"\nadvertiser_id {world.advertiser_id}, log in {self.home.log}")
            _out.print(f'\nTry this: open the chat of an ad, write "{TRY_THIS}", and watch the Leads Center.')
            _out.print(f"{settings.base_url}{world.chat_path}", soft_wrap=True)
            _out.print("\nCtrl+C ends it. The next start goes on with this world; --fresh makes a new one.")
            if self.options.ready_file:
                write_private(self.options.ready_file, ready_values(world, settings.base_url))
            if self.options.live:
                member = MemberSession(browser, world.login(Role.OWNER))
                visits = VisitPlayer(browser, world, member, self.context.clock, self.context.vault)
                rng = random.Random()  # noqa: S311  # it makes up what the sales team does
                live = play_live(visits, plan.people, plan.starts_at, plan.days)
                await asyncio.gather(live, self.crm.work(rng))
            await asyncio.Event().wait()
        finally:
            self.crm.save()
            browser.close()


def ready_values(world: DemoWorld, base_url: str) -> dict[str, Any]:
    """Return the content of the ready file, for scripts that drive the world."""
    return {
        "base_url": base_url,
        "login_url": f"{base_url}/login",
        "chat_url": f"{base_url}{world.chat_path}",
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
            {"role": login.role, "email": login.email, "password": login.password} for login in world.logins
        ],
        "channel_account_ids": {platform.value: account.id for platform, account in world.accounts.items()},
        "ad_groups": [
            {"adgroup_id": ad.adgroup_id, "name": ad.adgroup_name, "goal": ad.goal, "platform": ad.platform}
            for ad in {ad.adgroup_id: ad for ad in world.ads}.values()
        ],
        "ads": [
            {"ad_id": ad.ad_id, "adgroup_id": ad.adgroup_id, "chat_url": f"{base_url}{ad.chat_path}"}
            for ad in world.ads
        ],
    }
