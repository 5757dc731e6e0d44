"""Scoring the candidates of one request: our auction, and what peers take for estimates of as many rows."""

import time
from collections.abc import Callable, Iterator
from ctypes import POINTER, byref, c_double, c_int, c_int64, c_void_p
from importlib import import_module
from typing import Any, Final

import msgspec
import numpy as np

from contatto.learning.marketplace import Marketplace
from contatto.learning.model import AdGroupLine, AdLine, RequestLine

FEATURES: Final = {
    "language": "en",
    "age": 31.0,
    "device": "phone",
    "place": "feed",
    "follows": ["tea", "oak"],
}
"""Features of a request; with those of the viewer it becomes some thirty hashed features."""
COLUMNS: Final = 40
"""Features of a row, for the peers."""
TRAINED_ROWS: Final = 5_000
START_US: Final = 1_760_000_000_000_000

type Scorer = Callable[[], object]


def scorers(candidates: int) -> Iterator[tuple[str, Scorer | str]]:
    """Each way by its name: what scores the candidates of one request, or why it is left out."""
    yield "contatto, three heads and the auction", market_scorer(candidates)
    rng = np.random.default_rng(1)
    rows = rng.random((TRAINED_ROWS, COLUMNS))
    wanted = rng.random(TRAINED_ROWS) < 0.1 + 0.3 * rows[:, 0]
    asked = np.ascontiguousarray(rows[:candidates])
    try:
        booster = _boost(rows, wanted)
    except ImportError as error:
        yield "LightGBM", str(error)
    else:
        yield "LightGBM Booster.predict, one head", lambda: booster.predict(asked, num_threads=1)
        yield "LightGBM C API, one head", _c_scorer(booster, asked)
    try:
        yield "river LogisticRegression FTRL, one head", _river_scorer(rows[:1_000], wanted[:1_000], asked)
    except ImportError as error:
        yield "river", str(error)


def market_scorer(candidates: int) -> Scorer:
    """Make a marketplace of ads that may all serve; each call is a request of one of many viewers."""
    market = Marketplace(1)
    for line in shop_lines(candidates, candidates // 5):
        market.take(line)
    numbers = iter(range(10**9))
    return lambda: market.take(request_line(next(numbers)))


def shop_lines(ads: int, ad_groups: int) -> Iterator[AdGroupLine | AdLine]:
    """Ads, in turn in the ad groups; no budget ends, and each ad has features."""
    for group in range(ad_groups):
        yield AdGroupLine(ts=START_US, adgroup_id=f"g{group}", advertiser_id=f"a{group % 20}")
    for ad in range(ads):
        told: Any = {"format": "video" if ad % 2 else "image", "says": [f"w{ad % 7}", f"w{ad % 11}"]}
        yield AdLine(ts=START_US, ad_id=f"ad{ad}", adgroup_id=f"g{ad % ad_groups}", features=told)


def request_line(number: int, step_us: int = 1_000) -> RequestLine:
    """One of many requests, a thousand in a second; viewers come again."""
    ts = START_US + number * step_us
    return RequestLine(ts, f"r{number}", f"v{number * 7_919 % 5_000}", "SG", dict(FEATURES))


def request_lines(first: int, count: int) -> list[bytes]:
    """Encode requests as JSON Lines."""
    encode = msgspec.json.Encoder().encode
    return [encode(request_line(number)) + b"\n" for number in range(first, first + count)]


def latencies_us(work: Scorer, times: int, within_s: float) -> list[float]:
    """Return how long each call took, after some that warm it up; fewer calls where they take long."""
    _call(work, times // 20 + 1, within_s / 5)
    return _call(work, times, within_s)


def _call(work: Scorer, times: int, within_s: float) -> list[float]:
    found: list[float] = []
    end = time.perf_counter() + within_s
    while len(found) < times and time.perf_counter() < end:
        before = time.perf_counter_ns()
        work()
        found.append((time.perf_counter_ns() - before) / 1_000)
    return found


def _boost(rows: Any, wanted: Any) -> Any:
    lightgbm = import_module("lightgbm")
    settings = {"objective": "binary", "num_leaves": 31, "verbose": -1, "num_threads": 1, "seed": 1}
    return lightgbm.train(settings, lightgbm.Dataset(rows, wanted), num_boost_round=100)


def _c_scorer(booster: Any, asked: Any) -> Scorer:
    """Score with LightGBM's C library, without the layers above it."""
    basic = import_module("lightgbm.basic")
    library, handle = basic._LIB, booster._handle  # noqa: SLF001 — the binding offers no other way there
    answer, count = np.zeros(len(asked)), c_int64()
    text = basic._c_str("num_threads=1")  # noqa: SLF001 — as above
    double_rows, by_rows, plain = 1, 1, 0

    def score() -> object:
        failed = library.LGBM_BoosterPredictForMat(
            handle, asked.ctypes.data_as(c_void_p), c_int(double_rows), c_int(asked.shape[0]),
            c_int(asked.shape[1]), c_int(by_rows), c_int(plain), c_int(0), c_int(-1), text, byref(count),
            answer.ctypes.data_as(POINTER(c_double)),
        )  # fmt: skip
        if failed:
            raise RuntimeError("LightGBM refuses")
        return answer

    score()
    if not np.allclose(answer, booster.predict(asked, num_threads=1)):
        raise RuntimeError("the C library gives other numbers than Booster.predict")
    return score


def _river_scorer(rows: Any, wanted: Any, asked: Any) -> Scorer:
    linear, optim = import_module("river.linear_model"), import_module("river.optim")
    model = linear.LogisticRegression(optimizer=optim.FTRLProximal())
    for row, is_wanted in zip(_named(rows), wanted.tolist(), strict=True):
        model.learn_one(row, is_wanted)
    named = _named(asked)
    return lambda: [model.predict_proba_one(row) for row in named]


def _named(rows: Any) -> list[dict[str, float]]:
    return [{f"f{place}": value for place, value in enumerate(row)} for row in rows.tolist()]
