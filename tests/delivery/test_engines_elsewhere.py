"""Spark, on a cluster too, makes what the embedded engine makes; `make test-engines` runs this."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from contatto.delivery.actions.training import judge_files, relearn_files
from contatto.delivery.engines.files import Engine, MakeExamples, computing_on, make_examples
from contatto.learning.batch_learning import weights_of
from contatto.learning.marketplace import new_marketplace
from tests.delivery.logs import random_log, write_log
from tests.delivery.played import Played
from tests.delivery.small_world import play
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
def spark(request: pytest.FixtureRequest) -> Iterator[MakeExamples]:
    with computing_on(Engine.SPARK, request.param) as computing:
        yield computing


def test_logs_by_lot_come_out_as_on_the_embedded_engine(spark: MakeExamples, tmp_path: Path) -> None:
    logs = [random_log(seed, decisions=200, viewers=20) for seed in (1, 2)]
    here = made(make_examples, tmp_path / "here", logs, MOMENTS[1])
    assert made(spark, tmp_path / "there", logs, MOMENTS[1]) == here
    assert len(here) > 100


def test_what_is_learned_from_examples_made_there_is_the_same_to_the_last_bit(
    spark: MakeExamples, tmp_path: Path
) -> None:
    made = Played()
    play(made.ask, requests=800)
    write_log(tmp_path / "log.parquet", made.rows)
    sources, saved = [tmp_path / "log.parquet"], made.marketplace.save()
    learned, judged = [], []
    for computing in (make_examples, spark):
        marketplace = new_marketplace(7)
        marketplace.restore(saved)
        market = marketplace.market
        learned.append((relearn_files(computing, sources, market, market.now), weights_of(market)))
        judged.append(judge_files(computing, sources, market, 0, market.now, market.now))
    assert learned[0] == learned[1]
    assert learned[0][0][0] > 500
    assert judged[0] == judged[1]
    candidate, current = judged[0]["click"]
    assert candidate.log_loss < current.log_loss
