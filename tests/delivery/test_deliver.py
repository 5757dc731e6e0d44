"""`contatto deliver` as a program: lines in, lines out, faults told, and a state that outlives kills."""

import gc
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contatto.simulator.worlds.game import EnginePlayer
from tests.delivery.small_world import BEGINS, SECOND, Line, play, set_up

COMMAND = [sys.executable, "-c", "from contatto.cli.main import app; app()", "deliver"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
ANSWERED = {"request", "rank", "report"}


class Program:
    """The command, driven in lock-step."""

    def __init__(self, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=ENVIRONMENT,
        )
        self.answers: list[bytes] = []

    def ask(self, line: Line) -> Line | None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()
        if line["type"] not in ANSWERED:
            return None
        self.answers.append(self.process.stdout.readline())
        found: Line = json.loads(self.answers[-1])
        return found

    def end(self) -> tuple[int, str]:
        out, errors = self.process.communicate(timeout=300)
        assert out == b""
        return self.process.returncode, errors.decode()

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate(timeout=300)


def feed(lines: Sequence[Line | str], *options: str) -> tuple[list[dict[str, Any]], int, str]:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    done = subprocess.run(
        [*COMMAND, *options],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=300,
    )
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode, done.stderr


def request(number: int, ts: int, **changes: Any) -> Line:
    return {
        "type": "request", "ts": ts, "request_id": f"r{number}", "viewer_id": "v", "country": "IT",
        "features": {}, "floor_micros": 1_000, **changes,
    }  # fmt: skip


def test_a_marketplace_makes_no_cycles_so_that_the_command_needs_no_garbage_collection() -> None:
    marketplace = EnginePlayer(3)
    gc.collect()
    gc.disable()
    try:
        play(marketplace.answer)
        assert gc.collect() < 100
    finally:
        gc.enable()


def test_a_world_is_played_in_lock_step_and_again_from_its_lines_to_the_same_bytes() -> None:
    program = Program("--seed", "3")
    told = play(program.ask, requests=1_500)
    code, errors = program.end()
    assert (code, errors) == (0, "")
    again = subprocess.run(
        [*COMMAND, "--seed", "3"],
        input="".join(json.dumps(line) + "\n" for line in told).encode(),
        capture_output=True,
        check=True,
        env=ENVIRONMENT,
    )
    assert again.stdout == b"".join(program.answers)
    report = json.loads(program.answers[-1])
    assert sum(group["leads"] for group in report["adgroups"]) > 10
    assert all(
        set(answer) >= {"offer_micros", "propensity", "p_lead"}
        for answer in map(json.loads, program.answers[:5])
    )


def test_offers_reach_the_floor_and_prices_lie_between_it_and_the_offer() -> None:
    program = Program()
    floors = {}

    def ask(line: Line) -> Line | None:
        floors[line.get("request_id")] = line.get("floor_micros", 0)
        return program.ask(line)

    play(ask, requests=800)
    program.end()
    shown = [answer for answer in map(json.loads, program.answers) if answer.get("ad_id")]
    assert len(shown) > 100
    for answer in shown:
        floor = floors[answer["request_id"]]
        assert floor <= answer["price_micros"] <= answer["offer_micros"]
        assert 0 < answer["propensity"] <= 1
        assert all(0 < answer[name] < 1 for name in ("p_click", "p_conversation", "p_spam", "p_lead"))


def test_what_cannot_be_used_is_told_with_its_line_and_the_rest_goes_on() -> None:
    ts = BEGINS + 60 * SECOND
    lines: list[Line | str] = [
        *set_up(1),
        "{not json",
        '{"type": "request", "ts": NaN, "request_id": "x", "viewer_id": "v"}',
        {"type": "unheard of", "ts": ts},
        {"type": "view", "ts": ts, "request_id": "never asked"},
        {"type": "lead", "ts": ts, "viewer_id": "nobody", "advertiser_id": "advertiser 0", "source": "chat"},
        {"type": "ad", "ts": ts, "ad_id": "a", "adgroup_id": "unknown", "features": {}},
        {**next(set_up(1)), "timezone": "Mars/Olympus", "ts": ts},
        request(1, ts, request_id="r" * 129),
        "",
        request(
            2, ts, features={"fine": "x", "odd": {"nested": 1}, "nothing": None, "huge": 10**300, "yes": True}
        ),
    ]
    answers, code, errors = feed(lines)
    assert code == 1
    assert [answer["request_id"] for answer in answers] == ["r2"]
    told = [line.split(":")[0] for line in errors.splitlines()]
    assert told[:-1] == [f"line {number}" for number in (3, 4, 5, 6, 7, 8, 9, 10, 12)]
    assert told[-1] == "9 faults"


def test_a_time_that_jumps_is_refused_and_moves_nothing() -> None:
    hour = 3_600 * SECOND
    lines = [
        *set_up(1),
        request(1, BEGINS + hour),
        request(2, BEGINS + 2 * 366 * 24 * hour),
        request(3, BEGINS + hour - 61 * SECOND),
        request(4, BEGINS + hour - 60 * SECOND),
    ]
    answers, code, errors = feed(lines)
    assert [answer["request_id"] for answer in answers] == ["r1", "r4"]
    assert code == 1
    assert "a year ahead" in errors
    assert "more than a minute before" in errors


def test_the_random_policy_gives_each_ad_that_may_serve_the_same_chance() -> None:
    lines = [
        *set_up(4, budget_mode="infinite", countries=["IT"]),
        *(request(n, BEGINS + n * SECOND) for n in range(2_000)),
    ]
    answers, _, _ = feed(lines, "--policy", "random")
    late = [answer for answer in answers[1_000:] if answer["ad_id"]]
    assert {answer["propensity"] for answer in late} == {0.25}
    shares = [sum(answer["ad_id"] == f"ad {ad}" for answer in late) / len(late) for ad in range(4)]
    assert all(0.2 < share < 0.3 for share in shares)


def test_a_rank_scores_every_candidate_and_those_out_of_reach_least() -> None:
    candidates = [
        {"viewer_id": f"c{n}", "country": country, "features": {}}
        for n, country in enumerate(["IT", "XX", "IT"])
    ]
    rank = {
        "type": "rank", "ts": BEGINS + SECOND, "ask_id": "k", "advertiser_id": "advertiser 0",
        "adgroup_id": "group 0", "seeds": ["x"], "candidates": candidates,
    }  # fmt: skip
    answers, code, _ = feed([*set_up(1), rank, rank])
    assert code == 0
    assert answers[0] == answers[1]
    scores = answers[0]["scores"]
    assert scores[1] < scores[0] == scores[2]


@pytest.mark.parametrize(
    "setting", ["unheard=1", "explore=2", "explore=nan", "explore=", "explore"], ids=lambda each: each
)
def test_a_setting_that_is_none_is_refused(setting: str) -> None:
    _, code, errors = feed([], "--setting", setting)
    assert code == 2
    assert "--setting" in errors


def test_a_state_of_another_seed_is_not_gone_on_with(tmp_path: Path) -> None:
    feed([*set_up(1)], "--state", str(tmp_path))
    _, code, errors = feed([], "--state", str(tmp_path), "--seed", "5")
    assert code == 2
    assert "another seed" in errors


def kill_and_go_on(folder: Path, kills: int, requests: int) -> None:
    """Play a world, kill the program often, go on from the last answered line, compare every byte."""
    undisturbed = Program("--seed", "9")
    told = play(undisturbed.ask, seed=4, requests=requests)
    undisturbed.end()
    chance = random.Random(kills)  # noqa: S311 — seeded
    moments = sorted(chance.sample(range(len(told) // 20, len(told)), kills))
    answers: dict[int, bytes] = {}
    begin, program = 0, Program("--seed", "9", "--state", str(folder))
    for moment in [*moments, len(told)]:
        for place in range(begin, moment):
            if program.ask(told[place]) is not None:
                assert answers.setdefault(place, program.answers[-1]) == program.answers[-1]
        if moment == len(told):
            break
        program.kill()
        begin = max((place for place in answers if place < moment), default=0)
        program = Program("--seed", "9", "--state", str(folder))
    assert program.end()[0] == 0
    assert [answers[place] for place in sorted(answers)] == undisturbed.answers


def test_a_killed_program_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, kills=3, requests=1_200)


@pytest.mark.slow
def test_a_program_that_is_killed_twenty_times_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    kill_and_go_on(tmp_path, kills=20, requests=4_000)


def test_a_frequency_cap_without_its_days_is_told_and_is_none() -> None:
    lines = set_up(1, budget_mode="infinite", pacing="fast", countries=[], frequency=1)
    asked = [
        {"type": "request", "ts": BEGINS + n * SECOND, "request_id": f"r{n}", "viewer_id": "v"}
        for n in range(3)
    ]
    answers, code, errors = feed([*lines, *asked])
    assert all(answer["ad_id"] for answer in answers[1:])
    assert "a frequency cap needs both frequency and frequency_schedule" in errors
    assert code == 1
