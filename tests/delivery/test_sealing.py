"""Files of decisions hold every entry once, whatever interrupts, and forget whom the log forgets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest
import sqlalchemy as sa

from contatto.cli.models import check_sealed, seal_files
from contatto.delivery import store
from contatto.delivery.actions.ledger import decision_sealing_job, read_record
from contatto.delivery.actions.training import purge_log
from contatto.kit.db.database import Database
from contatto.kit.db.tx import FixedClock
from contatto.learning.model import EntryKind
from tests.delivery.learning import Market, add_market, count_rows
from tests.delivery.test_forgetting import forget
from tests.measurement.test_sealing import Stopped, dies
from tests.measurement.writer_deaths import DEATHS, let_writer_die

ADDRESS = "somebody@example.com"


@pytest.fixture
def market(database: Database, clock: FixedClock) -> Market:
    return add_market(database, clock)


def seal(market: Market, folder: Path, age_days: int = 1, keep_days: int = 90) -> None:
    seal_files(market.db, decision_sealing_job(folder, age_days, keep_days))


def rows(folder: Path, what: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
    paths = f"{folder}/decisions/*/*/*.parquet"
    return duckdb.execute(
        f"SELECT {what} FROM read_parquet('{paths}') WHERE {where} ORDER BY seq"  # noqa: S608
    ).fetchall()


def play_days(market: Market, days: int = 2) -> None:
    for _ in range(days):
        market.play(7)
        market.clock.advance(days=1)


def test_each_entry_of_days_that_are_over_is_in_one_file_of_its_day_and_business(
    market: Market, tmp_path: Path
) -> None:
    play_days(market, 3)
    for _ in range(2):
        seal(market, tmp_path, age_days=2)
    listed = market.db.read_now(store.list_decision_files)
    assert [(each.business_id, each.first_seq) for each in listed] == [
        (market.id, 1),
        (market.id, listed[0].last_seq + 1),
    ]
    assert sum(each.entries for each in listed) == len(rows(tmp_path)) == listed[-1].last_seq
    first = listed[0]
    assert first.name == f"decisions/day={first.day}/business={market.id}/part-1.parquet"
    check_sealed(market.db)
    seal(market, tmp_path)
    assert [seq for (seq,) in rows(tmp_path, "seq")] == list(range(1, market.entries()[-1].seq + 1))


def test_a_decision_is_written_with_its_features_as_they_were_and_what_became_of_it(
    market: Market, tmp_path: Path
) -> None:
    (served,) = market.ask()
    market.see(served)
    market.clock.advance(hours=1)
    subject = market.talk(market.tap(served))
    market.clock.advance(days=2)
    market.find_lead_to_be(subject, "qualified")
    market.clock.advance(days=2)
    seal(market, tmp_path)
    (decided,) = (each for each in market.entries() if each.kind is EntryKind.DECISION)
    record = read_record(decided.body)
    assert record.shown is not None
    (row,) = duckdb.execute(
        "SELECT nonce, ad, model, price_micros, propensity, p, raw, ts, arrived_ts, len(hashes),"
        " len(weights), len(kinds), len(between) FROM read_parquet(?) WHERE kind = 'decision'",
        [f"{tmp_path}/decisions/*/*/*.parquet"],
    ).fetchall()
    assert row[:7] == (
        record.nonce, record.ad, 0, record.price_micros, record.propensity, list(record.p), list(record.raw),
    )  # fmt: skip
    assert row[7] == record.ts <= row[8] == decided.arrived_ts
    count = len(record.shown.hashes) // 8
    assert row[9:] == (count, count, count, len(record.shown.between) // 8)
    became = rows(tmp_path, "kind, nonce, said, ts <= arrived_ts", "kind NOT IN ('decision', 'lines')")
    assert became == [
        (kind, record.nonce, said, True)
        for kind, said in (
            ("view", ""),
            ("click", ""),
            ("conversation", ""),
            ("lead", "chat"),
            ("quality", "qualified"),
        )
    ]


def test_no_word_that_a_publisher_said_of_a_viewer_gets_into_the_files(
    market: Market, tmp_path: Path
) -> None:
    market.ask(features={"mail": ADDRESS, "phone": "+6591234567"})
    market.clock.advance(days=2)
    seal(market, tmp_path)
    (hashes,) = rows(tmp_path, "hashes", "kind = 'decision'")
    assert hashes[0]
    assert ADDRESS not in str(rows(tmp_path))
    assert "91234567" not in str(rows(tmp_path))


STEPS = {
    "before it is listed": ("contatto.delivery.store.record_progress", dies),
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("step", [*DEATHS, *STEPS])
def test_killed_at_any_step_the_next_run_ends_the_same(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    play_days(market)
    market.clock.advance(days=1)
    with monkeypatch.context() as patch:
        if step in DEATHS:
            let_writer_die(patch, step)
        else:
            patch.setattr(*STEPS[step])
        with pytest.raises((Stopped, RuntimeError)):
            seal(market, tmp_path)
    seal(market, tmp_path)
    check_sealed(market.db)
    assert [seq for (seq,) in rows(tmp_path, "seq")] == list(range(1, market.entries()[-1].seq + 1))
    assert list(tmp_path.rglob("*.tmp")) == []


FORGETTING = {
    "before": ("contatto.delivery.store.record_decision_file", dies),
    "between the list and the file": ("contatto.delivery.actions.ledger.take_new_files", dies),
    "undisturbed": ("contatto.delivery.store.list_decision_files", store.list_decision_files),
}


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("step", FORGETTING)
def test_who_is_erased_is_erased_in_the_files_and_others_stay(
    market: Market, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    theirs, other = market.ask(2)
    (again,) = market.ask(1, viewer_id="viewer 0")
    for served in (theirs, other, again):
        market.see(served)
    person, _ = market.tap(theirs), market.tap(other)
    market.clock.advance(days=2)
    seal(market, tmp_path)
    nonces = (int(theirs.decision_id), int(again.decision_id))
    before = rows(tmp_path, where=f"nonce NOT IN {nonces}")
    forget(market, person)
    with monkeypatch.context() as patch:
        patch.setattr(*FORGETTING[step])
        if step == "undisturbed":
            seal(market, tmp_path)
        else:
            with pytest.raises(Stopped):
                seal(market, tmp_path)
    seal(market, tmp_path)
    check_sealed(market.db)
    found = rows(tmp_path, "kind, user_id, hashes, between, price_micros", f"nonce IN {nonces}")
    assert {row[1] for row in found} == {""}
    assert [row[2:4] for row in found if row[0] == "decision"] == [([], [])] * 2
    assert all(row[4] for row in found if row[0] == "decision")
    assert rows(tmp_path, where=f"nonce NOT IN {nonces}") == before
    assert market.db.read_now(lambda tx: tx.execute(sa.select(store.forgotten)).all()) == []
    assert list(tmp_path.rglob("*.new")) == []


def test_an_erased_person_is_forgotten_though_the_log_is_gone(market: Market, tmp_path: Path) -> None:
    (served,) = market.ask()
    market.see(served)
    person = market.tap(served)
    market.train()
    market.clock.advance(days=20)
    seal(market, tmp_path)
    market.db.write_now(lambda tx: purge_log(tx, 14))
    assert count_rows(market.db) == 0
    forget(market, person)
    market.db.write_now(lambda tx: purge_log(tx, 14))
    seal(market, tmp_path)
    assert set(rows(tmp_path, "user_id, len(hashes)", "kind = 'decision'")) == {("", 0)}
    assert rows(tmp_path, "user_id", "user_id <> ''") == []


def test_a_person_is_forgotten_before_the_first_file_and_the_sealing_goes_on(
    market: Market, tmp_path: Path
) -> None:
    """Only an installation that seals has files; erasing must not stop the others' nightly work."""
    (served,) = market.ask()
    market.see(served)
    person = market.tap(served)
    forget(market, person)
    seal(market, tmp_path, age_days=2)
    assert market.db.read_now(lambda tx: tx.execute(sa.select(store.forgotten)).all()) == []
    assert market.db.read_now(store.list_decision_files) == []
    market.clock.advance(days=3)
    seal(market, tmp_path, age_days=2)
    assert rows(tmp_path, "user_id", "user_id <> ''") == []


def test_old_files_go_and_are_not_written_again(market: Market, tmp_path: Path) -> None:
    play_days(market)
    seal(market, tmp_path)
    market.clock.advance(days=30)
    seal(market, tmp_path, keep_days=1)
    left = market.db.read_now(store.list_decision_files)
    seal(market, tmp_path, keep_days=1)
    assert market.db.read_now(store.list_decision_files) == left
    assert len(list(tmp_path.rglob("*.parquet"))) == len(left)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-40]), "is not what was written"),
        (lambda path: path.unlink(), "is gone"),
    ],
    ids=["cut off", "gone"],
)
def test_a_damaged_file_is_named(
    market: Market, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    play_days(market)
    seal(market, tmp_path)
    harm(next(tmp_path.rglob("*.parquet")))
    with pytest.raises(OSError, match=rf"part-1\.parquet {says}"):
        check_sealed(market.db)


def test_a_folder_that_was_moved_is_found_where_it_is_now(market: Market, tmp_path: Path) -> None:
    play_days(market)
    seal(market, tmp_path / "before")
    (tmp_path / "before").rename(tmp_path / "now")
    seal(market, tmp_path / "now")
    check_sealed(market.db)
    assert {each.folder for each in market.db.read_now(store.list_decision_files)} == {str(tmp_path / "now")}


def test_only_days_that_are_over_are_written(market: Market, tmp_path: Path) -> None:
    market.play(3)
    seal(market, tmp_path)
    assert market.db.read_now(store.list_decision_files) == []
    assert {each.kind for each in market.entries()} >= {EntryKind.DECISION, EntryKind.VIEW}
