"""`contatto simulate`: the delivery engine in a simulated world, beside reference policies."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from contatto.cli.deliver import read_settings
from contatto.cli.installation import print_table
from contatto.simulator.worlds.game import Program
from contatto.simulator.worlds.model import World
from contatto.simulator.worlds.report import draw_page, make_table, player_label
from contatto.simulator.worlds.simulation import (
    ENGINES,
    SETTINGS,
    NoSuchSetting,
    Player,
    Size,
    WorldName,
    compare,
    make_world,
)

_out: Final = Console(highlight=False)
_err: Final = Console(stderr=True, highlight=False)
_PLAYERS_BY_GOAL: Final = {
    Player.LEAD: tuple(Player),
    Player.CONVERSATION: (Player.CONVERSATION, Player.RANDOM, Player.ORACLE_CONV, Player.ORACLE_OBS),
}


def simulate_command(
    goal: Annotated[
        str, typer.Option(help="What the ads look for: lead or conversation.", metavar="GOAL")
    ] = "lead",
    days: Annotated[int | None, typer.Option(help="How many days are played.", min=2, max=60)] = None,
    seed: Annotated[int, typer.Option(help="What the world and its luck are drawn from.", min=0)] = 0,
    world: Annotated[WorldName, typer.Option(help="Which world.")] = WorldName.LINEAR,
    size: Annotated[Size, typer.Option(help="How much of it.")] = Size.SMALL,
    world_setting: Annotated[
        list[str] | None, typer.Option(help="A number of the world, as NAME=VALUE, such as tension=2.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option(help="A number of the engine, as for contatto deliver.")
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(
            help="A program that speaks the lines of contatto deliver, with its arguments in one text. "
            "It plays beside the engine. May come again.",
            metavar="PROGRAM",
        ),
    ] = None,
    is_alone: Annotated[
        bool, typer.Option("--alone/--no-alone", help="Leave out the players to compare with.")
    ] = False,
    plots: Annotated[Path | None, typer.Option(help="Write plots to this file, as one HTML page.")] = None,
    to_json: Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")] = None,
) -> None:
    """Play a world of viewers and ads with known chances, and see what delivery reaches.

    The same code as in production decides, learns and paces; only the viewers are made up. Leads and spam are
    counted by the true chances of the world, so that luck plays no part.
    """
    simulated = _make_world(world, seed, size, [*(world_setting or []), *([f"days={days}"] if days else [])])
    if goal not in _PLAYERS_BY_GOAL:
        raise typer.BadParameter("the goal is lead or conversation", param_hint="--goal")
    players = (Player(goal),) if is_alone else _PLAYERS_BY_GOAL[Player(goal)]
    programs = _programs(command or [])
    settings = read_settings(setting or [])
    player_count = len(players) + len(programs) * len(ENGINES.intersection(players))
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=_err) as bar:
        task = bar.add_task("", total=player_count * simulated.days)
        compared = compare(
            simulated,
            players,
            settings,
            lambda player, day: bar.update(
                task, description=f"{player_label(player)}, day {day + 1} of {simulated.days}", advance=1
            ),
            programs,
        )
    title = (
        f"World {world.value}, size {size.value}, seed {seed}, {simulated.days} days; "
        "figures of the second half"
    )
    table = Table(title=title, title_justify="left")
    columns = list(zip(*make_table(compared), strict=True))
    for name in columns[0]:
        table.add_column(name, justify="right" if name else "left")
    for row in columns[1:]:
        table.add_row(*row)
    print_table(table)
    player_lifts = {player: lifts for player, lifts in compared.lifts.items() if lifts.groups}
    if player_lifts:
        _out.print("Lookalikes of the first leads:")
    for player, lifts in player_lifts.items():
        _out.print(
            f"  {player_label(player)}: the best 1 % are worth {lifts.top_1:.1f} times the mean, "
            f"the best 5 % {lifts.top_5:.1f} times, with {lifts.spam:.2f} times the spam."
        )
    if plots:
        plots.write_text(
            draw_page(compared, f"Delivery in the world {world.value}", title, make_table(compared)), "utf-8"
        )
        _out.print(f"Plots: {plots}")
    if to_json:
        values = {
            "world": world.value,
            "size": size.value,
            "seed": seed,
            "days": simulated.days,
            "goal": goal,
            "players": {
                player: {**asdict(figures), "faults": compared.faults[player]}
                for player, figures in compared.figures.items()
            },
            "lookalikes": compared.lifts,
            "requests_per_s": compared.requests_per_s,
            "longest_wait_s": compared.longest_wait_s,
            "failures": compared.failures,
        }
        text = msgspec.json.format(msgspec.json.encode(values), indent=2)  # unknown numbers become null
        to_json.write_bytes(text + b"\n")
        _out.print(f"Figures: {to_json}")
    if any(compared.faults.values()):
        _err.print(f"Rules were broken: {compared.faults}")
    for player, reason in compared.failures.items():
        _err.print(f"{player} could not play to the end: {reason}", markup=False)
    if any(compared.faults.values()) or compared.failures:
        raise typer.Exit(1)


def _make_world(name: WorldName, seed: int, size: Size, texts: list[str]) -> World:
    changes: dict[str, float] = {}
    for text in texts:
        setting, _, value_text = text.partition("=")
        try:
            changes[setting] = float(value_text)
        except ValueError as error:
            defaults = asdict(SETTINGS[name, Size.FULL])
            usual = ", ".join(f"{field}={default:g}" for field, default in defaults.items())
            raise typer.BadParameter(
                f"{text!r} is not NAME=VALUE; there are {usual}", param_hint="--world-setting"
            ) from error
    try:
        return make_world(name, seed, size, **changes)
    except NoSuchSetting as error:
        raise typer.BadParameter(str(error), param_hint="--world-setting") from error


def _programs(commands: list[str]) -> list[Program]:
    """Read the programs; a second one of the same name gets a number."""
    programs: list[Program] = []
    for text in commands:
        try:
            program = Program.parse(text)
        except ValueError as error:
            raise typer.BadParameter(f"{text!r}: {error}", param_hint="--command") from error
        namesakes = sum(earlier.name.split()[0] == program.name for earlier in programs)
        programs.append(replace(program, name=f"{program.name} {namesakes + 1}") if namesakes else program)
    return programs
