"""Spark, on a cluster too, Sail and ClickHouse find what brute force finds; `make test-engines` runs this."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from contatto.measurement.engines import cluster
from contatto.measurement.engines.events import EngineName, EngineOptions, answered
from contatto.measurement.engines.staging import sql_of
from contatto.measurement.model import AttributionPolicy
from tests.measurement import oracle
from tests.measurement.cases import joined, world
from tests.measurement.test_engines import answers, in_order, refuse

ENGINE = os.environ.get("CONTATTO_ENGINE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENGINE, reason="needs an environment of its own: make test-engines"),
]
WORLDS = [world(seed) for seed in range(20)]
CLUSTER = "local-cluster[2,1,1024]"
"""Two workers in processes of their own, as on two machines."""


@pytest.mark.parametrize("policy", list(AttributionPolicy))
def test_twenty_small_worlds_come_out_as_by_brute_force(policy: AttributionPolicy) -> None:
    wanted = in_order([row for rows in WORLDS for row in oracle.answer(rows, policy)])
    assert answers(joined(WORLDS), policy, EngineName(ENGINE)) == wanted


def test_a_larger_world_comes_out_as_by_brute_force() -> None:
    rows = world(77, touches=3_000)
    assert answers(rows, None, EngineName(ENGINE)) == in_order(oracle.answer(rows))


@pytest.mark.skipif(ENGINE != "spark", reason="Spark's own")
def test_a_cluster_comes_to_the_same() -> None:
    wanted = in_order([row for rows in WORLDS for row in oracle.answer(rows)])
    assert answers(joined(WORLDS), None, EngineName.SPARK, CLUSTER) == wanted


@pytest.mark.skipif(ENGINE != "spark", reason="Spark's own")
def test_a_submitted_program_reports_sealed_files_as_the_embedded_engine_does(tmp_path: Path) -> None:
    folder, output = tmp_path / "sealed", tmp_path / "out"
    wanted = write_sealed(folder)
    submit = [Path(sys.executable).parent / "spark-submit", "--master", CLUSTER]
    subprocess.run([*submit, cluster.__file__, folder, output], check=True, capture_output=True)
    found = duckdb.execute("SELECT * FROM read_parquet(?) ORDER BY ALL", [f"{output}/report/*.parquet"])
    assert [column[0] for column in found.description or []][:2] == ["adgroup_id", "day"]
    assert found.fetchall() == wanted
    assert len(wanted) > 20


def write_sealed(folder: Path) -> list[tuple[object, ...]]:
    """The staged events of the worlds as a folder of sealed files, and the report of the embedded engine."""
    with answered(joined(WORLDS), EngineOptions(), refuse) as staged:
        for table in ("touches", "conversions"):
            staged.export_parquet(table, folder / table / "part-1.parquet")
    with duckdb.connect() as db:
        for table in ("touches", "conversions"):
            files = folder / table / "*.parquet"
            db.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet('{files}')")  # noqa: S608
        db.execute(f"CREATE TABLE winners AS {sql_of('duckdb', 'winners_click_first')}")
        return db.execute(f"SELECT * FROM ({sql_of('duckdb', 'report')}) ORDER BY ALL").fetchall()  # noqa: S608
