"""Game of one player in a simulated world, over lines of JSON, and its players."""

import heapq
import itertools
import json
import math
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np

from contatto.learning import model
from contatto.learning.marketplace import Marketplace, UnusableLine
from contatto.simulator.worlds.model import (
    DAY,
    DRAWS,
    HOUR,
    NEVER,
    SECOND,
    STARTS_TS,
    Columns,
    Floats,
    GroupStates,
    Ints,
    OnDay,
    Past,
    Spans,
    Tables,
    World,
    WorldGroup,
    sigmoid,
    weary,
)

type Line = dict[str, Any]

_KINDS: Final = {
    "adgroup": model.AdGroupLine,
    "ad": model.AdLine,
    "request": model.RequestLine,
    "view": model.ViewLine,
    "click": model.ClickLine,
    "conversation": model.ConversationLine,
    "spam": model.SpamLine,
    "lead": model.LeadLine,
    "quality": model.QualityLine,
    "rank": model.RankLine,
    "report": model.ReportLine,
}
_CHECKED: Final = frozenset({"adgroup", "conversation", "spam", "lead", "quality", "rank"})
"""Lines that hold more than texts, numbers and features, so that they are converted field by field."""
_ANSWERED: Final = frozenset({"request", "rank", "report"})
_TIME_LIMIT_S: Final = 120.0
"""A program that takes longer for one answer is ended; starting may compile for a minute."""
_ERROR_LENGTH: Final = 500


class EnginePlayer:
    """Player that uses a marketplace of this process, with the lines of `contatto deliver` as values."""

    def __init__(
        self, seed: int = 0, *, is_random: bool = False, settings: Mapping[str, float] | None = None
    ) -> None:
        self.complaints: list[str] = []
        self._marketplace = Marketplace(
            seed, is_random=is_random, settings=dict(settings or {}), complain=self.complaints.append
        )
        self._take = self._marketplace.take

    def answer(self, line: Line) -> Line | None:
        kind = line["type"]
        if kind in _CHECKED:
            message: Any = msgspec.convert(line, _KINDS[kind])
        else:
            fields = line.copy()
            del fields["type"]
            message = _KINDS[kind](**fields)
        try:
            answer = self._take(message)
        except UnusableLine as reason:
            self.complaints.append(str(reason))
            return None
        if answer is None:
            return None
        return msgspec.structs.asdict(answer) if kind == "request" else msgspec.to_builtins(answer)


class _Choice(msgspec.Struct):
    """Fields of every answer to a request, even without an ad."""

    request_id: str
    ad_id: str | None = None


class _GroupSpend(msgspec.Struct):
    adgroup_id: str
    spend_micros: int


class _SpendReport(msgspec.Struct):
    ask_id: str
    adgroups: list[_GroupSpend]


_SCHEMAS: Final[dict[str, Any]] = {"request": _Choice, "rank": model.Ranking, "report": _SpendReport}


class ProgramError(Exception):
    """A program that cannot play on, with the reason and its last error output."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command that speaks the lines protocol, and its name in tables."""

    name: str
    command: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> "Program":
        """Split a command as a shell does; Python runs a ``.py`` file. Raises ValueError."""
        words = shlex.split(text)
        if not words:
            raise ValueError("the command is empty")
        script = next((word for word in words if word.endswith(".py")), words[0])
        interpreter = [sys.executable] if words[0].endswith(".py") else []
        return cls(Path(script).stem, (*interpreter, *words))


class Piped:
    """A program that reads lines from its standard input and answers on its standard output.

    A watch thread ends the program when one answer takes longer than the time limit. So neither reading nor
    writing can block for ever.
    """

    def __init__(self, command: tuple[str, ...], time_limit_s: float = _TIME_LIMIT_S) -> None:
        """Start the program. Raises ProgramError: the program cannot be started."""
        self.cpu_s = 0.0
        self._name, self._time_limit_s = shlex.join(command), time_limit_s
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the program
        self._started_children_s = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
        try:
            self._program = subprocess.Popen(  # noqa: S603  # the caller's own command
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            self._errors.close()
            raise ProgramError(f"{self._name} cannot be started: {error.strerror}") from error
        self._waits_since: float | None = None
        self._is_late = False
        self._ended = threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def answer(self, line: Line) -> Line | None:
        """Write a line, and read its answer. Raises ProgramError: it ended, was slow, or made no sense."""
        into, out = self._program.stdin, self._program.stdout
        if into is None or out is None:  # for the type checker: both are pipes
            raise ProgramError(f"{self._name} has no pipes")
        self._waits_since = time.monotonic()
        try:
            into.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            if line["type"] not in _ANSWERED:
                return None
            into.flush()
            text = out.readline()
        except BrokenPipeError:
            text = b""
        finally:
            self._waits_since = None
        if text.endswith(b"\n"):
            return _read_answer(self._name, line, text)
        # The program has ended, or the watch ended it: say why the answer is missing.
        name = f"{line['type']} {line.get('request_id') or line.get('ask_id') or ''}".strip()
        self._kill()
        why = f"ended with exit code {self._program.wait()} before it answered {name}"
        if self._is_late:
            why = f"did not answer {name} within {self._time_limit_s:g} s"
        self._errors.seek(0)
        error_output = self._errors.read().decode(errors="replace").strip()[-_ERROR_LENGTH:]
        raise ProgramError(f"{self._name} {why}" + (f": {error_output}" if error_output else ""))

    def close(self) -> int:
        """End the input, wait until the program has ended, and return its exit code."""
        self._ended.set()
        if self._program.stdin is not None:
            with suppress(BrokenPipeError):
                self._program.stdin.close()
        try:
            code = self._program.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._kill()
            code = self._program.wait()
        if self._program.stdout is not None:
            self._program.stdout.close()
        self._errors.close()
        self.cpu_s = sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]) - self._started_children_s
        return code

    def _watch(self) -> None:
        while not self._ended.wait(min(1.0, self._time_limit_s / 4)):
            since = self._waits_since
            if since is not None and time.monotonic() - since > self._time_limit_s:
                self._is_late = True
                self._kill()
                return

    def _kill(self) -> None:
        """End the program with the processes that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._program.pid, signal.SIGKILL)


def _read_answer(name: str, line: Line, text: bytes) -> Line:
    """Read an answer, and check the fields that the world computes with. Raises ProgramError."""
    kind = line["type"]
    key = "request_id" if kind == "request" else "ask_id"
    try:
        answer: Any = msgspec.json.decode(text)
        schema = _SCHEMAS[kind]
        if kind == "request" and msgspec.convert(answer, _Choice).ad_id is not None:
            schema = model.Decision
        checked: Line = msgspec.structs.asdict(msgspec.convert(answer, schema))
        if checked[key] != line[key]:
            raise ValueError(f"{key} is {checked[key]}")
        if kind == "rank" and len(checked["scores"]) != len(line["candidates"]):
            raise ValueError("not one score for each candidate")
    except ValueError as error:
        shown = text.decode(errors="replace").strip()[:_ERROR_LENGTH]
        raise ProgramError(f"{name} answered {kind} {line[key]} badly ({error}): {shown}") from error
    return checked | ({"adgroups": answer["adgroups"]} if kind == "report" else {})


VIEW, CLICK, TALK, SPAM, LEAD, MIX, DELAY, MARK, FAKE, WAIT = range(DRAWS)
"""Index of a request's random number for each decision."""
_SAMPLES: Final = 20_000


class ViewOutcomes:
    """True chances of the outcomes of views in one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.owner = np.array([world.groups[ad.group].advertiser for ad in world.ads])
        self.group = np.array([ad.group for ad in world.ads])
        draws = np.random.default_rng(0).random((_SAMPLES, 2))
        windows = [group.click_window_s for group in world.groups]
        shares = [np.mean(world.delays_s(number, draws) < window) for number, window in enumerate(windows)]
        self.in_time = np.array(shares)
        """Share of each ad group's leads that come within its click window."""
        nature = world.nature
        contact = nature.farm_contact
        self.fake_contact = np.where(world.is_farm & (contact is not None), contact or 0, nature.fake_contact)
        self.spam_recall = np.where(world.is_farm, nature.recall_of_farms, nature.spam_recall)

    def truth(self, tables: Tables, viewer: Ints, ad: Ints, shift: Floats, past: Past) -> Columns:
        """Return the true chances of these views at this moment, as columns of ``ShownViews``."""
        nature = self.world.nature
        logit = tables.click[viewer, ad] + shift
        if nature.tires:
            of_advertiser = (past.views[viewer] * (self.owner == self.owner[ad][:, None])).sum(1)
            logit = logit - weary(nature, past.views[viewer, ad], of_advertiser)
        click, talk, spam = sigmoid(logit), tables.talk[viewer, ad], tables.spam[viewer, ad]
        lead = tables.lead[viewer, ad]
        if nature.once:
            lead = lead * ~past.is_lead[viewer, self.owner[ad]]
        genuine = (1 - spam) * lead * self.in_time[self.group[ad]]
        caught = click * talk * (genuine + spam * self.fake_contact[viewer])
        return {"click": click, "talk": talk, "spam": spam, "lead": lead, "caught": np.asarray(caught)}


@dataclass(frozen=True, slots=True)
class ShownViews:
    """Every view of a run in order of time. Prices are micros of a thousand views.

    ``click``, ``talk``, ``spam`` and ``lead`` are true chances, each given the step before. ``lead`` is of
    a genuine lead, and 0 for a viewer who is one already. ``caught`` is the chance of a lead that is noticed
    within the window of a click, genuine or fake, for one view. ``predicted`` is the player's prediction of
    it.
    """

    ts: Ints
    viewer: Ints
    ad: Ints
    price: Ints
    click: Floats
    talk: Floats
    spam: Floats
    lead: Floats
    caught: Floats
    predicted: Floats
    predicted_talk: Floats

    @property
    def talks(self) -> Floats:
        """Return expected conversations of each view."""
        return np.asarray(self.click * self.talk)

    @property
    def spams(self) -> Floats:
        return np.asarray(self.talks * self.spam)

    @property
    def leads(self) -> Floats:
        """Return expected genuine leads of each view."""
        return np.asarray(self.talks * (1 - self.spam) * self.lead)

    @property
    def spend(self) -> Floats:
        """Return the cost of each view, in units of currency."""
        return np.asarray(self.price / 1e9)


@dataclass(frozen=True, slots=True)
class Run:
    """Views of one player in one world, counts of rules that it broke, and its daily reports."""

    world: World
    goal: str
    shown: ShownViews
    faults: dict[str, int]
    reports: tuple[dict[str, Any], ...] = ()


_DAY_LIMIT: Final = 1.25
_PER_VIEW: Final = 1_000
"""Prices are of a thousand views."""


class Ledger:
    """Charges of ad groups and broken rules, in thousandths of a micro."""

    def __init__(self, world: World, standings: GroupStates) -> None:
        self.world, self.standings = world, standings
        self.faults: Counter[str] = Counter()
        self.charged = [0] * len(world.groups)
        self._spans = Spans(world)
        self._span: list[tuple[int, int]] = [(0, 0)] * len(world.groups)
        self._spent = [0] * len(world.groups)
        self._limit: list[float] = [0.0] * len(world.groups)

    def charge(self, group: int, ts: int, price: int) -> None:
        """Charge a view, and check the budget; ``price`` is that of a thousand views in micros."""
        self.charged[group] += price
        budget = self.standings.groups[group]
        if budget.budget_mode == "infinite":
            return
        if not self._span[group][0] <= ts < self._span[group][1]:
            self._span[group], self._spent[group] = self._spans.at(budget, ts), 0
            self._limit[group] = self._allowed(group)
        self._spent[group] += price
        if self._spent[group] > self._limit[group]:
            is_daily = budget.budget_mode == "day"
            self.faults["day over 125 %" if is_daily else "total over budget"] += 1

    def change(self, group: int, pending: int) -> None:
        """Set the limit after a change of the budget, which earlier and ``pending`` views may exceed."""
        committed = self._spent[group] + pending
        self._limit[group] = max(self._allowed(group), committed if committed <= self._limit[group] else 0.0)

    def _allowed(self, group: int) -> float:
        budget = self.standings.groups[group]
        return budget.budget_micros * _PER_VIEW * (_DAY_LIMIT if budget.budget_mode == "day" else 1.0)


_CLICK_S: Final = (3.0, 20.0)
_TALK_S: Final = (30.0, 120.0)
_UNQUALIFIED: Final = 0.3
_CONVERTED: Final = 0.8
_GROUP_FIELDS: Final = (
    "budget_mode",
    "budget_micros",
    "starts_ts",
    "ends_ts",
    "click_window_s",
    "view_window_s",
    "timezone",
)


def group_line(world: World, group: WorldGroup, goal: str, ts: int) -> Line:
    """Return the line of an ad group; without an own end it ends a year after the world."""
    line: Line = {
        "type": "adgroup",
        "adgroup_id": group.id,
        "advertiser_id": world.advertisers[group.advertiser],
        "ts": ts,
        "goal": group.goal or goal,
        "status": "on" if group.is_on else "off",
        "bid_type": "custom" if group.bid_micros else "no_bid",
        "pacing": "smooth",
        "billing_event": "OCPM",
        "countries": list(group.countries),
    }
    if group.bid_micros:
        line["bid_micros"] = group.bid_for(goal)
    line["ends_ts"] = STARTS_TS + (world.days + 365) * DAY
    return line | {name: value for name in _GROUP_FIELDS if (value := getattr(group, name))}


class PendingView(NamedTuple):
    """Chosen ad before its view."""

    ad: int
    viewer: int
    price: int
    shift: float
    draws: Floats
    predicted_talk: float
    predicted: float


class Game:
    """A world that one player plays over lines, with timers of the player.

    The wait for a decision includes the lines before it, which a program works through first. The wait for
    the first decision does not count, since it may compile.
    """

    def __init__(self, world: World, answer: Callable[[Line], Line | None], goal: str) -> None:
        self.world, self.goal, self._player = world, goal, answer
        self.requests, self.longest_wait_s, self._wait_s = 0, 0.0, 0.0
        self.cpu_s = 0.0
        """CPU time of this thread within answers."""
        self.outcomes = ViewOutcomes(world)
        self.past = Past.empty(world)
        self.standings = GroupStates(list(world.groups), deque(world.edits))
        self.ledger = Ledger(world, self.standings)
        self.views = [0] * len(world.groups)
        self.shown = array("d")
        self.reports: list[Line] = []
        self.leads_of: dict[int, list[int]] = {}
        """Viewers who became leads of each ad group, fake leads too."""
        self._events: list[tuple[int, int, Line]] = []
        self._order = itertools.count()
        self._ads = {ad.id: number for number, ad in enumerate(world.ads)}
        self._group = [ad.group for ad in world.ads]
        self._countries = [frozenset(world.groups[group].countries) for group in self._group]
        owner = self.outcomes.owner
        self._owner = owner.tolist()
        self._same_owner = (owner[:, None] == owner).astype(np.float32)
        self._fake_contact = self.outcomes.fake_contact.tolist()
        self._spam_recall = self.outcomes.spam_recall.tolist()
        late = world.nature.announced_late
        announced = [group.starts_ts if late else STARTS_TS for group in world.groups]
        self._unannounced = deque(sorted((ts, number) for number, ts in enumerate(announced)))
        self._pending: dict[str, PendingView] = {}
        self._in_time = self.outcomes.in_time[self.outcomes.group].tolist()

    def answer(self, line: Line) -> Line | None:
        """Return the player's answer to a line."""
        wall, cpu = time.perf_counter(), time.thread_time()
        answer = self._player(line)
        self.cpu_s += time.thread_time() - cpu
        self._wait_s += time.perf_counter() - wall
        kind = line["type"]
        if kind in _ANSWERED:
            if kind == "request":
                self.requests += 1
                if self.requests > 1 and self._wait_s > self.longest_wait_s:
                    self.longest_wait_s = self._wait_s
            self._wait_s = 0.0
        return answer

    def play(self, on_day: OnDay = lambda _: None) -> Run:
        """Play all days, and call ``on_day`` after each."""
        for day in range(self.world.days):
            self.play_day(day)
            on_day(day)
        names = ShownViews.__slots__
        columns = dict(zip(names, np.array(self.shown).reshape(-1, len(names)).T, strict=True))
        for name in ("ts", "viewer", "ad", "price"):  # moments are whole numbers below 2⁵³
            columns[name] = columns[name].astype(np.int64)
        faults, reports = dict(self.ledger.faults), tuple(self.reports)
        return Run(self.world, self.goal, ShownViews(**columns), faults, reports)

    def play_day(self, day: int) -> None:
        world = self.world
        requests, tables = world.requests(day), world.tables(day)
        self._requests, self._tables = requests, tables
        ts, viewers, floor = requests.ts.tolist(), requests.viewer.tolist(), requests.floor.tolist()
        place = requests.place.tolist()
        countries = [world.countries[number] for number in world.viewer_country.tolist()]
        ids, features, places = world.viewer_ids, world.viewer_features, world.places
        answer, events = self.answer, self._events
        self._next_ts = 0
        for row in range(len(ts)):
            ts_now = ts[row]
            if ts_now >= self._next_ts or (events and events[0][0] <= ts_now):
                self._advance(ts_now)
            viewer = viewers[row]
            country = countries[viewer]
            name = f"r{day}-{row}"
            decision = answer(
                {
                    "type": "request",
                    "request_id": name,
                    "ts": ts_now,
                    "viewer_id": ids[viewer],
                    "country": country,
                    "features": {**features[viewer], **places[place[row]]},
                    "floor_micros": floor[row],
                }
            )
            if decision is None:
                self.ledger.faults["answer makes no sense"] += 1
            elif decision["ad_id"] is not None:
                self._show_ad(name, row, country, floor[row], decision)
        end = STARTS_TS + (day + 1) * DAY
        self._advance(end - 1)
        report = self.answer({"type": "report", "ask_id": f"day{day}", "ts": end - 1})
        if report is None:
            self.ledger.faults["answer makes no sense"] += 1
        else:
            self.reports.append(report)
            # Spend may differ from the ledger by a micro per view.
            reported = {row["adgroup_id"]: row["spend_micros"] for row in report["adgroups"]}
            for number, group in enumerate(world.groups):
                difference = abs(reported.get(group.id, 0) - self.ledger.charged[number] / _PER_VIEW)
                if difference > self.views[number] + 1:
                    self.ledger.faults["report is not the ledger"] += 1
        self.past.views *= world.nature.night

    def _advance(self, until: int) -> None:
        """Send events up to a moment in order: new ad groups, edits, and outcomes of views."""
        unannounced, groups = self._unannounced, self.standings.groups
        while True:
            group_ts = unannounced[0][0] if unannounced else NEVER
            edits = self.standings.edits
            ts = self._next_ts = min(edits[0].ts if edits else NEVER, group_ts)
            if ts > until:
                break
            self._flush(ts - 1)
            while unannounced and unannounced[0][0] <= ts:
                _, number = unannounced.popleft()
                group = groups[number]
                self.answer(group_line(self.world, group, self.goal, ts))
                for ad in self.world.ads:
                    if ad.group == number:
                        line = {"type": "ad", "ad_id": ad.id, "adgroup_id": group.id, "ts": ts}
                        self.answer({**line, "features": ad.features})
            for number in self.standings.move_to(ts):
                self.answer(group_line(self.world, groups[number], self.goal, ts))
                views = [view for view in self._pending.values() if self._group[view.ad] == number]
                self.ledger.change(number, sum(view.price for view in views))
        self._flush(until)

    def _flush(self, until: int) -> None:
        """Send the queued lines up to a moment; a view also decides its outcomes."""
        events, answer = self._events, self.answer
        while events and events[0][0] <= until:
            ts, _, line = heapq.heappop(events)
            if line["type"] == "view":
                self._view(line["request_id"], ts, self._pending.pop(line["request_id"]))
            else:
                answer(line)

    def _show_ad(self, name: str, row: int, country: str, floor: int, decision: Line) -> None:
        """Check the answer to a request, and show the chosen ad at once, later, or never."""
        requests, nature, faults = self._requests, self.world.nature, self.ledger.faults
        if decision["ad_id"] not in self._ads:
            raise ProgramError(f"the answer to request {name} names an unknown ad: {decision['ad_id']}")
        ad, viewer, ts = self._ads[decision["ad_id"]], int(requests.viewer[row]), int(requests.ts[row])
        price, shift, draws = decision["price_micros"], float(requests.shift[row]), requests.draws[row]
        if price < floor:
            faults["price below floor"] += 1
        if price > decision["offer_micros"]:
            faults["price above offer"] += 1
        if country not in self._countries[ad] or not self.standings.groups[self._group[ad]].runs(ts):
            faults["ad may not run"] += 1
        chances = (decision[field] for field in ("p_click", "p_conversation", "p_spam", "p_lead"))
        if not all(0 <= chance <= 1 for chance in chances) or not 0 < decision["propensity"] <= 1:
            faults["answer makes no sense"] += 1
        talk = decision["p_click"] * decision["p_conversation"]
        pending = PendingView(ad, viewer, price, shift, draws, talk, talk * decision["p_lead"])
        if not nature.view_after_s:
            self._view(name, ts, pending)
        elif draws[VIEW] >= nature.view_lost:
            self._pending[name] = pending
            ts = ts + int((0.2 + draws[WAIT] * nature.view_after_s) * SECOND)
            line = {"type": "view", "request_id": name, "ts": ts}
            heapq.heappush(self._events, (ts, next(self._order), line))

    def _view(self, name: str, ts: int, pending: PendingView) -> None:
        """View an ad; the request's random numbers decide the later outcomes."""
        self.answer({"type": "view", "request_id": name, "ts": ts})
        ad, viewer = pending.ad, pending.viewer
        self.ledger.charge(self._group[ad], ts, pending.price)
        self.views[self._group[ad]] += 1
        world, tables, past, nature = self.world, self._tables, self.past, self.world.nature
        logit = float(tables.click[viewer, ad]) + pending.shift
        if nature.tires:
            of_advertiser = past.views[viewer] @ self._same_owner[ad]
            logit -= float(weary(nature, past.views[viewer, ad], of_advertiser))
            past.views[viewer, ad] += 1
        click = 1 / (1 + math.exp(-logit))
        talk, spam, lead = (float(table[viewer, ad]) for table in (tables.talk, tables.spam, tables.lead))
        if nature.once and past.is_lead[viewer, self._owner[ad]]:
            lead = 0.0
        caught = click * talk * ((1 - spam) * lead * self._in_time[ad] + spam * self._fake_contact[viewer])
        view = (ts, viewer, ad, pending.price, click, talk, spam, lead, caught)
        self.shown.extend((*view, pending.predicted, pending.predicted_talk))
        if pending.draws[CLICK] >= click:
            return
        draws = pending.draws.tolist()
        second_luck = draws[WAIT] * 977 % 1  # another random number from the digits of one
        at = ts + _between(_CLICK_S, second_luck)
        line = {"type": "click", "request_id": name, "ts": at}
        heapq.heappush(self._events, (at, next(self._order), line))
        if draws[TALK] >= talk:
            return
        owner = self._owner[ad]
        at += _between(_TALK_S, draws[WAIT])
        self._push_outcome("conversation", at, viewer, owner)
        past.chats[viewer] += 1
        is_spam = draws[SPAM] < spam
        if draws[MARK] < (self._spam_recall[viewer] if is_spam else nature.spam_false_alarm):
            self._push_outcome("spam", at + _between(nature.spam_after_s, second_luck), viewer, owner)
            past.spams[viewer] += 1
        if is_spam and draws[FAKE] < self._fake_contact[viewer]:
            at += int(draws[DELAY] * HOUR)
        elif not is_spam and draws[LEAD] < lead:
            after = world.delays_s(self._group[ad], pending.draws[None, [MIX, DELAY]])[0]
            at += int(after * SECOND)
            past.is_lead[viewer, owner] |= nature.once
        else:
            return
        form = world.ads[ad].features.get("form") == "yes"
        self._push_outcome("lead", at, viewer, owner, source="form" if form else "chat")
        self.leads_of.setdefault(self._group[ad], []).append(viewer)
        if nature.qualities:
            luck = draws[WAIT] * 311 % 1
            status = "unqualified" if is_spam or luck < _UNQUALIFIED else "qualified"
            at += int((0.3 + 2 * luck) * DAY)
            self._push_outcome("quality", at, viewer, owner, status=status)
            if not is_spam and luck > _CONVERTED:
                self._push_outcome("quality", at + DAY, viewer, owner, status="converted")

    def _push_outcome(self, kind: str, ts: int, viewer: int, owner: int, **more: str) -> None:
        world = self.world
        line = {
            "type": kind,
            "viewer_id": world.viewer_ids[viewer],
            "advertiser_id": world.advertisers[owner],
            "ts": ts,
        }
        heapq.heappush(self._events, (ts, next(self._order), line | more))


def _between(span_s: tuple[float, float], luck: float) -> int:
    return int((span_s[0] + luck * (span_s[1] - span_s[0])) * SECOND)
