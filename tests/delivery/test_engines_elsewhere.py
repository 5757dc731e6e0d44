"""Spark, on a cluster too, makes what the embedded engine makes; `make test-engines` runs this."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.delivery.engines.computing import Computing, Embedded, computing_on
from tests.delivery.logs import random_log
from tests.delivery.test_examples import MOMENTS, made

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get("CONTATTO_ENGINE") != "spark",
        reason="needs an environment of its own: make test-engines",
    ),
]
CLUSTER = "local-cluster[2,1,1024]"
"""Two workers in processes of their own, as on two machines."""


@pytest.fixture(scope="module", params=["local[*]", CLUSTER])
def spark(request: pytest.FixtureRequest) -> Iterator[Computing]:
    with computing_on("spark", request.param) as computing:
        yield computing


def test_logs_by_lot_come_out_as_on_the_embedded_engine(spark: Computing, tmp_path: Path) -> None:
    logs = [random_log(seed, decisions=200, viewers=20) for seed in (1, 2)]
    here = made(Embedded(), tmp_path / "here", logs, MOMENTS[1])
    assert made(spark, tmp_path / "there", logs, MOMENTS[1]) == here
    assert len(here) > 100
