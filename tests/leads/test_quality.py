"""What becomes of leads, learned: features, both kinds of models, their mixture, and the correction."""

import random
from ctypes.util import find_library
from math import inf, nan, sqrt

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.leads.engines import (
    LEAST,
    Columns,
    Correction,
    Described,
    NoTrees,
    ScoringRequest,
    ScoringResult,
    chance_at,
    choose_columns,
    fill_table,
    fit_linear,
    learn_quality,
    read_quality,
    score_round,
)
from contatto.leads.model import ScoredLead
from contatto.leads.rules.records import ENOUGH, choose_reasons, explain_reasons

WORDS = st.lists(
    st.sampled_from([f"{letter}:{number}" for letter in "acf" for number in range(3)]), max_size=4
)
NUMBERS = st.dictionaries(st.sampled_from(["w:hour", "d:seconds"]), st.floats(), max_size=2)

needs_trees = pytest.mark.skipif(
    find_library("gomp") is None, reason="LightGBM cannot be loaded here: it needs the system's libgomp"
)


def played(seed: int, count: int) -> list[ScoredLead]:
    """Leads of two ads, of which one brings good ones, by a form that tells nothing."""
    chance, leads = random.Random(seed), []  # noqa: S311 — seeded
    for number in range(count):
        ad, form = chance.choice("xy"), chance.choice(("f:1", "f:2"))
        is_good = chance.random() < (0.8 if ad == "x" else 0.2)
        leads.append(ScoredLead(str(number), (f"a:{ad}", form, "o:chat"), {}, is_good))
    return leads


def crossed(seed: int, count: int) -> tuple[list[Described], list[bool]]:
    """Leads that are good only where the hour fits the ad, which no sum of signs can say."""
    chance = random.Random(seed)  # noqa: S311 — seeded
    described: list[Described] = []
    came = []
    for _ in range(count):
        ad, hour = chance.choice("xy"), float(chance.randrange(24))
        fits = (hour >= 12) == (ad == "x")
        described.append(((f"a:{ad}",), {"w:hour": hour}))
        came.append(chance.random() < (0.9 if fits else 0.1))
    return described, came


def answered(
    leads: list[ScoredLead], model: bytes = b"", correction: Correction | None = None
) -> ScoringResult:
    request = msgspec.json.encode(ScoringRequest(leads, model, correction or Correction()))
    return msgspec.json.decode(score_round(request), type=ScoringResult)


@given(st.lists(st.tuples(WORDS, NUMBERS), max_size=30), st.tuples(WORDS, NUMBERS))
def test_any_lead_fits_into_the_table_of_any_others(some: list[Described], other: Described) -> None:
    columns = choose_columns(some)
    assert columns == choose_columns(some[::-1])
    table = fill_table(columns, [*some, other])
    assert table.shape == (len(some) + 1, len(columns.letters()))
    words = len(columns.words)
    assert set(np.unique(table[:, :words])) <= {0.0, 1.0}
    assert not np.isinf(table).any()
    assert all(LEAST <= count < len(some) for count in table[:-1, :words].sum(0))


def test_a_value_that_is_no_number_is_one_that_is_not_known() -> None:
    columns = Columns(("a:x",), ("w:hour",))
    rows: list[Described] = [((), {"w:hour": value}) for value in (3.0, nan, inf, -inf, 1e300)]
    rows.append(((), {}))
    assert np.isnan(fill_table(columns, rows)[1:, 1]).all()
    assert fill_table(columns, rows)[0].tolist() == [0.0, 3.0]


@given(st.lists(st.tuples(st.tuples(WORDS, NUMBERS), st.booleans()), min_size=2, max_size=40))
def test_parts_add_up_to_the_log_odds_whatever_was_learned(rows: list[tuple[Described, bool]]) -> None:
    described, came = [row for row, _ in rows], np.array([good for _, good in rows], np.float64)
    came[0], came[1] = 0.0, 1.0
    columns = choose_columns(described)
    table = fill_table(columns, described)
    model = fit_linear(table, came, len(columns.words))
    found = model.log_odds(table)
    assert np.isfinite(found).all()
    assert np.allclose(model.bias + model.parts(table).sum(1), found)
    assert abs(float(chance_at(found).mean() - came.mean())) < 0.01


@needs_trees
def test_few_leads_are_judged_by_logistic_regression_many_that_ask_for_it_by_trees() -> None:
    described, came = crossed(1, 1_000)
    many, few = learn_quality(described, came), learn_quality(described[:60], came[:60])
    assert many.share >= 0.75
    assert many.loss < 0.40 < few.loss
    assert (few.share, few.trees) == (0.0, None)
    table = fill_table(many.columns, described)
    assert many.trees is not None
    log_odds, parts = many.predict(described)
    with_both = parts.sum(1) - log_odds
    assert np.allclose(with_both, with_both[0]), "parts and log-odds differ by the same for all"
    assert many.linear.parts(table).shape == many.trees.parts(table).shape


def test_a_model_is_the_same_from_the_same_leads_and_after_it_was_kept() -> None:
    described, came = crossed(2, 400)
    model = learn_quality(described, came)
    raw = model.to_bytes()
    assert learn_quality(described, came).to_bytes() == raw
    strangers: list[Described] = [*described[:20], (("a:never seen",), {"w:hour": nan}), ((), {})]
    log_odds, _ = model.predict(strangers)
    assert (read_quality(raw).predict(strangers)[0] == log_odds).all()
    assert np.isfinite(log_odds).all()


@needs_trees
@pytest.mark.parametrize("share", [0.3, 0.9])
def test_half_a_model_and_a_changed_one_are_refused(share: float) -> None:
    described, came = crossed(3, 400)
    raw = learn_quality(described, came).to_bytes()
    with pytest.raises(NoTrees):
        read_quality(raw[: int(share * len(raw))])
    with pytest.raises(NoTrees):
        read_quality(raw.replace(b"split_feature=", b"split_feature=9", 1))


def test_where_the_library_is_missing_logistic_regression_does_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "lightgbm", None)
    described, came = crossed(1, 400)
    model = learn_quality(described, came)
    assert (model.share, model.trees) == (0.0, None)
    assert len({round(value, 6) for value in model.predict(described)[0]}) > 2


def test_what_brings_good_leads_is_found_and_told() -> None:
    asked = [ScoredLead(f"new {ad}", (f"a:{ad}", "f:1", "o:chat"), {}, None) for ad in "xy"]
    found = {each.lead_id: each for each in answered([*played(3, 400), *asked]).scores}
    good, bad = found["new x"], found["new y"]
    assert 70 <= good.score <= 90
    assert 10 <= bad.score <= 30
    assert good.reasons is not None
    assert bad.reasons is not None
    assert (good.reasons[0], bad.reasons[0]) == ("+a:x", "-a:y")
    assert explain_reasons(good.reasons)[0] == (True, "The ad")
    assert all(len(each.reasons or ()) <= 3 for each in found.values())


def test_what_a_lead_does_not_have_is_a_reason_too() -> None:
    letters, parts = ["h", "h", "w", "c"], [-0.2, -0.5, 0.3, 0.05]
    assert choose_reasons(letters, parts, ("c:SG",)) == ("-h:", "+w:")
    assert choose_reasons(letters, parts, ("c:SG", "h:email")) == ("-h:email", "+w:")
    assert explain_reasons(("-h:", "+w:")) == [
        (False, "Kinds of contact details"),
        (True, "Time of arrival"),
    ]


def test_with_too_few_outcomes_nobody_is_scored() -> None:
    some = [ScoredLead(str(number), ("o:chat",), {}, number < ENOUGH) for number in range(2 * ENOUGH - 1)]
    for leads in ([], some, [*some, ScoredLead("one more", ("o:chat",), {}, None)]):
        assert (answered(leads).scores, answered(leads).learned) == ([], None)
    enough = [*some, ScoredLead("one more", ("o:chat",), {}, False)]
    assert {each.score for each in answered(enough).scores} == {50}
    assert {each.reasons for each in answered(enough).scores} == {()}


def test_a_round_gives_the_same_again_and_changes_nothing_without_news() -> None:
    leads = played(5, 80)
    first = answered(leads)
    assert first.learned is not None
    assert first == answered(leads)
    known = [
        ScoredLead(lead.lead_id, lead.words, {}, lead.is_good, given.log_odds, given.score, given.is_counted)
        for lead, given in zip(leads, first.scores, strict=True)
    ]
    again = answered(known, first.learned.model, first.correction)
    assert (again.scores, again.learned, again.correction) == ([], None, first.correction)


def test_the_correction_follows_a_change_and_rests_where_there_is_none() -> None:
    chance = random.Random(7)  # noqa: S311 — seeded
    calm = Correction()
    for _ in range(500):
        calm = calm.learn(0.0, float(chance.random() < 0.5))
    assert abs(calm.chance(0.0) - 0.5) < 0.1
    changed = calm
    for _ in range(200):
        changed = changed.learn(0.0, float(chance.random() < 0.1))
    assert abs(changed.chance(0.0) - 0.1) < 0.1


@given(st.lists(st.tuples(st.floats(), st.booleans()), max_size=40), st.floats())
def test_a_correction_stays_a_chance_whatever_it_is_told(
    told: list[tuple[float, bool]], asked: float
) -> None:
    found = Correction()
    for log_odds, outcome in told:
        found = found.learn(log_odds, float(outcome))
    assert 0.0 <= found.chance(asked) <= 1.0
    assert min(found.of_shift, found.of_slope) > 0.0
    assert abs(found.of_both) <= sqrt(found.of_shift * found.of_slope)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Correction) == found


def test_a_model_says_how_it_did_on_leads_that_it_had_not_learned_from_and_what_it_goes_by() -> None:
    leads = played(5, 400)
    quality = learn_quality(*_known(leads))
    held = quality.held
    assert held is not None
    assert sum(each.cases for each in held.bins) == 400
    assert sum(each.actual for each in held.bins) == held.good
    assert held.bins[0].predicted < held.bins[-1].predicted
    assert quality.loss < held.of_rate
    assert (held.signs[0].letter, held.signs[0].times > 1.5 > held.signs[-1].times) == ("a", True)


def _known(leads: list[ScoredLead]) -> tuple[list[Described], list[bool]]:
    return [(each.words, each.numbers) for each in leads], [bool(each.is_good) for each in leads]
