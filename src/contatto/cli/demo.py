"""`contatto demo`: a world to try things in, made through the real endpoints, then served until Ctrl+C."""

import asyncio
import random
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contatto.accounts.model import Role
from contatto.app import create_app, open_context
from contatto.channels.model import Platform
from contatto.cli.installation import bring_up_to_date, read_settings
from contatto.cli.serving import Serving
from contatto.delivery.model.phases import Phase
from contatto.delivery.store.log import find_stream
from contatto.delivery.store.models import list_states
from contatto.inbox.store.receipts import count_receipts
from contatto.kit import outbox
from contatto.kit.clock import ShiftedClock
from contatto.kit.db.tx import Tx
from contatto.kit.log import set_up_logs
from contatto.kit.settings import Settings
from contatto.measurement.model import Goal
from contatto.measurement.rules import TRACKING_KEY
from contatto.simulator.browser import Browser
from contatto.simulator.desk import Desk
from contatto.simulator.home import Home, HomeState, Occupied, write_private
from contatto.simulator.linked_crm import LinkedCrm
from contatto.simulator.people import Visitor, plan_people
from contatto.simulator.platform import PLATFORM_PATH, routes
from contatto.simulator.run import play_history, play_live
from contatto.simulator.traffic import Street
from contatto.simulator.world import World, build_world, invent_logins
from contatto.ui.context import Context
from contatto.wiring import install

DATA_DIR: Final = Path(".contatto/demo")
HOST: Final = "127.0.0.1"
SEED: Final = 20251
TRY_THIS: Final = "my number is +65 8123 4567"
_SETTLED_WITHIN_S: Final = 60.0
_LEARNED_WITHIN_S: Final = 20
_DAY_S: Final = 86_400
_out = Console(highlight=False)


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for on the command line."""

    port: int
    data_dir: Path
    ready_file: Path | None
    days: int
    people: int
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
    days: Annotated[int, typer.Option(min=1, max=30, help="Days of history.")] = 5,
    people: Annotated[int, typer.Option(min=1, max=100_000, help="People who see an ad.")] = 1000,
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
    options = Options(chosen_port, data_dir, ready_file, days, people, not no_live, fresh)
    home = Home(data_dir)
    try:
        with home.locked(), _listening(options.port) as listener:
            _serve_world(home, options, listener)
    except Occupied as error:
        _out.print(str(error))
        raise typer.Exit(1) from error


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """A socket on the port that was asked for, or on a free one when that is taken."""
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


def _serve_world(home: Home, options: Options, listener: socket.socket) -> None:
    state, world = home.look()
    if state is HomeState.SEEDING:
        _out.print("The world in this folder was not finished, so it is made anew.")
    if options.fresh or state is HomeState.SEEDING:
        home.clear()
        world = None
    if world is None:
        home.note(HomeState.SEEDING, None)
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
        clock = ShiftedClock(timedelta() if world else -timedelta(days=options.days))
        context = open_context(install(settings), clock)
        try:
            bring_up_to_date(context.db)
            settings.record_address()
            Demo(home, options, context, clock).serve(listener, world)
        finally:
            context.db.close()


class Demo:
    """One run of the demo: the server, the history if there is none yet, and people now and then."""

    def __init__(self, home: Home, options: Options, context: Context, clock: ShiftedClock) -> None:
        self.home = home
        self.options = options
        self.context = context
        self.clock = clock
        app = create_app(context)
        self.crm = LinkedCrm(home.crm)
        app.router.routes.extend((*routes, self.crm.route))
        self.serving = Serving(context, app, proxy_headers=False, timeout_graceful_shutdown=2)

    def serve(self, listener: socket.socket, world: World | None) -> None:
        """Serve until a signal comes; what goes wrong meanwhile ends it too."""
        self.serving.run(self._play(world), [listener])

    async def _play(self, world: World | None) -> None:
        """Seed if need be, say that all is ready, and let people come."""
        await self.serving.until_started()
        browser = Browser(HOST, self.context.settings.port)
        try:
            ready = world or await self._build()
            _print_summary(ready, self.context.settings.base_url, self.home.log)
            if world is None:
                await self._seed(browser, ready)
            await self._link_crm(ready)
            if self.options.ready_file:
                write_private(self.options.ready_file, ready_values(ready, self.context.settings.base_url))
            if self.options.live:
                rng = random.Random()  # noqa: S311  # it makes up people
                await asyncio.gather(play_live(self._street(browser, ready), rng), self.crm.work(rng))
            await asyncio.Event().wait()
        finally:
            self.crm.save()
            browser.close()

    async def _link_crm(self, world: World) -> None:
        """Leads go to a CRM that lives in this process; those that are there already come by themselves."""
        known, settings = world.business_id, self.context.settings
        await self.context.db.write(
            lambda tx: self.crm.link(tx, known, settings.base_url, settings.allowed_hosts)
        )

    async def _seed(self, browser: Browser, world: World) -> None:
        started, starts_at = time.perf_counter(), self.clock.now()
        _out.print("Some days of history are played now. Sign in meanwhile: the pages fill as people come.")
        people = plan_people(SEED, self.options.people, self.options.days * _DAY_S, starts_at.timestamp())
        street = self._street(browser, world)
        await self._play_with_bar(street, people, starts_at)
        self.clock.back_to_present()
        self.home.note(HomeState.READY, world)
        tally = street.tally
        took = f"Days of history: {self.options.days}, in {time.perf_counter() - started:.0f} seconds"
        seen = f"{tally.views:,} views by {tally.people:,} people, {tally.taps:,} taps"
        _out.print(f"{took}: {seen}, {tally.chats:,} chats, {tally.messages:,} messages.")
        _out.print(await self._say_what_was_learned(world))
        _out.print(f"Start on Home: {self.context.settings.base_url}/home", soft_wrap=True)

    async def _say_what_was_learned(self, world: World) -> str:
        """What the report shows of both goals, and how much of it is learned."""
        business_id = world.business_id
        for _ in range(_LEARNED_WITHIN_S):
            stream = await self.context.db.read(lambda tx: find_stream(tx, business_id))
            if stream is None or stream.trained_seq >= stream.last_seq:
                break
            await asyncio.sleep(1.0)
        states = {
            state.number: state
            for state in await self.context.db.read(lambda tx: list_states(tx, business_id))
        }
        parts = []
        for goal in Goal:
            groups = {int(ad.adgroup_id) for ad in world.ads if ad.goal is goal}
            mine = [states[number] for number in groups if number in states]
            leads, chats = sum(each.leads for each in mine), sum(each.conversations for each in mine)
            views = sum(each.views for each in mine)
            parts.append(f"{goal.value}: {views:,} views, {chats:,} chats, {leads:,} leads")
        learned = sum(state.phase is Phase.LEARNED for state in states.values())
        return (
            f"Both goals have the same four ads. {'; '.join(parts)}. What people do depends on them and on "
            "the ad, never on the goal: what differs is what delivery learned, and chance. "
            f"{learned} of {len(states)} ad groups have learned; see Ads Manager, What delivery learned."
        )

    async def _build(self) -> World:
        logins = await asyncio.to_thread(invent_logins)
        signer = self.context.vault.signer(TRACKING_KEY)
        return await self.context.db.write(lambda tx: build_world(tx, logins, signer))

    def _street(self, browser: Browser, world: World) -> Street:
        desk = Desk(browser, world.login(Role.OWNER))
        return Street(browser, world, desk, self.clock, self.context.vault)

    async def _play_with_bar(self, street: Street, people: list[Visitor], starts_at: datetime) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[says]}"))
        seldom: Any = {"transient": True, "refresh_per_second": 2}
        with Progress(*columns, TimeElapsedColumn(), console=_out, **seldom) as bar:
            task = bar.add_task("Playing the last days", total=len(people), says="")
            showing = asyncio.create_task(_show(street, bar, task))
            try:
                await play_history(street, people, self.clock, starts_at)
                await self._settle(street.world)
            finally:
                showing.cancel()

    async def _settle(self, world: World) -> None:
        """Wait until nothing waits: all deliveries are settled and all events were heard."""

        def count(tx: Tx) -> int:
            return count_receipts(tx, world.business_id).waiting + outbox.count_waiting(tx)

        deadline = time.monotonic() + _SETTLED_WITHIN_S
        while waiting := await self.context.db.read(count):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{waiting} deliveries or events still wait; see {self.home.log}")
            await asyncio.sleep(0.05)


async def _show(street: Street, bar: Progress, task: Any) -> None:
    """Tell what the players did; the leads are not counted, as that would take from those who make them."""
    while True:
        tally = street.tally
        shared = sum(bool(each.contacts) for each in street.truth)
        says = f"{tally.people:,} people, {tally.messages:,} messages, {shared:,} shared a contact detail"
        bar.update(task, completed=tally.people, says=says)
        await asyncio.sleep(0.5)


def ready_values(world: World, base_url: str) -> dict[str, Any]:
    """What the ready file holds, for scripts that drive the world."""
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


def _print_summary(world: World, base_url: str, log: Path) -> None:
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
    people = Table.grid(padding=(0, 3, 0, 2))
    for login in world.logins:
        people.add_row(login.role, login.email, f"[bold]{login.password}[/bold]")
    _out.print(f"\n[bold]{world.business_name}[/bold] is open at [bold]{base_url}[/bold]\n")
    _out.print(places)
    _out.print("\nLog in as one of these")
    _out.print(people)
    _out.print(f"\nadvertiser_id {world.advertiser_id}, log in {log}")
    _out.print(f'\nTry this: open the chat of an ad, write "{TRY_THIS}", and watch the Leads Center.')
    _out.print(f"{base_url}{world.chat_path}", soft_wrap=True)
    _out.print("\nCtrl+C ends it. The next start goes on with this world; --fresh makes a new one.")
