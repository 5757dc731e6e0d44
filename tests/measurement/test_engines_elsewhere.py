"""Spark, on a cluster too, and Sail find what brute force finds; `make test-engines` runs this."""

import os

import pytest

from contatto.measurement.engines.choices import EngineName
from contatto.measurement.model import Policy
from tests.measurement import oracle
from tests.measurement.cases import joined, world
from tests.measurement.test_engines import answers, in_order

ENGINE = os.environ.get("CONTATTO_ENGINE", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ENGINE, reason="needs an environment of its own: make test-engines"),
]
WORLDS = [world(seed) for seed in range(20)]
CLUSTER = "local-cluster[2,1,1024]"
"""Two workers in processes of their own, as on two machines."""


@pytest.mark.parametrize("policy", list(Policy))
def test_twenty_small_worlds_come_out_as_by_brute_force(policy: Policy) -> None:
    wanted = in_order([row for rows in WORLDS for row in oracle.answer(rows, policy)])
    assert answers(joined(WORLDS), policy, EngineName(ENGINE)) == wanted


def test_a_larger_world_comes_out_as_by_brute_force() -> None:
    rows = world(77, touches=3_000)
    assert answers(rows, None, EngineName(ENGINE)) == in_order(oracle.answer(rows))


@pytest.mark.skipif(ENGINE != "spark", reason="Spark's own")
def test_a_cluster_comes_to_the_same() -> None:
    wanted = in_order([row for rows in WORLDS for row in oracle.answer(rows)])
    assert answers(joined(WORLDS), None, EngineName.SPARK, CLUSTER) == wanted
