"""Latent classes: found where people come in kinds, the same after a restart, and the same as Python."""

import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contatto.learning import features
from contatto.learning.features import (
    BUSY,
    CLASSES,
    FIRST_FIT,
    LISTED,
    MOST_WORDS,
    REMEMBERED,
    FeatureFields,
    LatentClasses,
    add_classes,
    begin_classes,
    fit_classes,
    judge_classes,
    measure_repetition,
    weigh_classes,
)
from contatto.learning.marketplace import Marketplace

WORDS = 40
KINDS = 4


def crowd(count: int, kinds: int, seed: int = 1) -> tuple[list[list[int]], list[int]]:
    """What people of some kinds show: eight words, most of them of a kind; one kind is no kind."""
    rng = np.random.default_rng(seed)
    usual = rng.dirichlet(np.full(WORDS, 0.5), kinds)
    kind = rng.integers(0, kinds, count)
    return [rng.choice(WORDS, 8, p=usual[each]).tolist() for each in kind], kind.tolist()


def in_one_field(words: list[int]) -> dict[int, int]:
    return dict.fromkeys(words, 0)


def noted(people: list[list[int]]) -> LatentClasses:
    classes = LatentClasses()
    for viewer, said in enumerate(people):
        classes.note(viewer, in_one_field(said), is_new=True)
    return classes


def refit(classes: LatentClasses) -> None:
    """Fit the classes if there are enough new viewers."""
    if classes.noted >= max(classes.fitted_at * 3 // 2, FIRST_FIT):
        for _ in classes.refit_in_slices(7):
            pass


def likeliest(classes: LatentClasses, said: list[int]) -> int:
    assert classes.read(in_one_field(said))
    return int(classes.chances.argmax())


@pytest.fixture(scope="module")
def fitted() -> LatentClasses:
    classes = noted(crowd(FIRST_FIT, KINDS)[0])
    refit(classes)
    return classes


def test_people_of_one_kind_come_into_classes_that_no_other_kind_comes_into(fitted: LatentClasses) -> None:
    people, kinds = crowd(FIRST_FIT, KINDS)
    of_kind = np.zeros((KINDS, CLASSES))
    for said, kind in zip(people, kinds, strict=True):
        of_kind[kind, likeliest(fitted, said)] += 1
    assert of_kind.max(axis=0).sum() / FIRST_FIT > 0.85


def test_where_people_are_of_no_kinds_there_are_no_classes() -> None:
    classes = noted(crowd(2 * FIRST_FIT, 1)[0])
    refit(classes)
    assert not classes.read(in_one_field([1, 2, 3]))


def test_what_changes_from_one_request_of_a_viewer_to_the_next_makes_no_classes() -> None:
    """A place is told by two fields: they hang together, but tell nothing of the viewer."""
    rng = np.random.default_rng(3)
    classes = LatentClasses()
    for viewer in range(FIRST_FIT):
        said = rng.integers(0, WORDS, 4).tolist()
        for visit in range(2):
            place = 1_000 * int(rng.integers(1, 5))
            words = in_one_field([*said, place, place + 1, place + 2])
            classes.note(viewer, words, is_new=visit == 0)
    refit(classes)
    assert not classes.read(in_one_field([1, 2, 3]))
    changing = {classes.words[place + field] for place in range(1_000, 5_000, 1_000) for field in range(3)}
    assert (classes.again / np.maximum(classes.asked, 1.0))[sorted(changing)].max() < 0.5


def test_few_viewers_are_no_ground_for_classes() -> None:
    classes = noted(crowd(FIRST_FIT - 1, KINDS)[0])
    refit(classes)
    assert not classes.read(in_one_field([1, 2, 3]))


def test_a_later_fit_goes_on_from_the_classes_that_there_are() -> None:
    more = FIRST_FIT * 3 // 2
    people, _ = crowd(more, KINDS)
    classes = noted(people[:FIRST_FIT])
    refit(classes)
    before = [likeliest(classes, said) for said in people]
    for viewer in range(FIRST_FIT, more):
        classes.note(viewer, in_one_field(people[viewer]), is_new=True)
    refit(classes)
    assert classes.fitted_at == more
    same = [likeliest(classes, said) == had for said, had in zip(people, before, strict=True)]
    assert sum(same) / len(same) > 0.8


def test_what_is_saved_goes_on_as_the_saved_one_would(fitted: LatentClasses) -> None:
    saved, other = Marketplace(7), Marketplace(7)
    saved.market.classes = noted(crowd(FIRST_FIT + 50, KINDS)[0])
    refit(saved.market.classes)
    other.restore(saved.save())
    assert other.save() == saved.save()
    said = crowd(1, KINDS, seed=5)[0][0]
    for each in (saved, other):
        each.market.classes.note(10**6, {10_000: 1} | in_one_field(said), is_new=True)
        each.market.classes.note(FIRST_FIT, in_one_field(said), is_new=False)
        assert each.market.classes.read(in_one_field(said))
    assert saved.market.classes.chances.tolist() == other.market.classes.chances.tolist()
    assert other.save() == saved.save()


@given(st.lists(st.integers(0, 2**64 - 1), max_size=60))
def test_whatever_is_shown_the_chances_of_classes_add_up_to_one(
    fitted: LatentClasses, said: list[int]
) -> None:
    assert fitted.read(in_one_field(said))
    assert fitted.chances.sum() == pytest.approx(1.0)
    assert (fitted.chances >= 0.0).all()


def test_more_words_and_viewers_than_are_kept_do_no_harm() -> None:
    classes = LatentClasses()
    for number in range(REMEMBERED + 10):
        classes.note(number, in_one_field(list(range(number, number + 50))), is_new=True)
    assert len(classes.words) == MOST_WORDS
    assert classes.noted == REMEMBERED + 10
    refit(classes)


def test_viewers_of_whom_nothing_is_known_make_no_classes() -> None:
    classes = noted([[]] * FIRST_FIT)
    refit(classes)
    assert not classes.read({})


def test_each_round_of_the_fit_makes_the_viewers_likelier() -> None:
    classes = noted(crowd(300, KINDS)[0])
    shares, scores, prior = np.zeros((300, 6)), np.zeros((len(classes.words), 6)), np.zeros(6)
    begin_classes(np.uint64(3), shares)
    likely = [fit_classes(classes.bags, classes.sizes, 0, 300, 1, shares, scores, prior) for _ in range(12)]
    assert all(after > before - 1e-3 for before, after in pairwise(likely))
    assert np.exp(scores).sum(axis=0) == pytest.approx(np.ones(6))


@pytest.mark.parametrize("viewers", [FIRST_FIT, REMEMBERED], ids=["more viewers", "viewers replace others"])
def test_a_word_that_is_new_during_a_fit_waits_for_the_next_one(viewers: int) -> None:
    classes = noted(crowd(viewers, KINDS)[0])
    fit = classes.refit_in_slices(7)
    next(fit)
    classes.note(viewers, {WORDS + 1: 1}, is_new=True)
    for _ in fit:
        pass
    assert len(classes.scores) == len(classes.words) - 1


def test_a_later_fit_uses_the_machine_code_that_serving_has_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiling for other types in the middle of a fit would hold up a decision for half a second."""
    types = set()

    def weigh(*given: Any) -> float:
        types.add(tuple(getattr(value, "dtype", type(value)) for value in given))
        return weigh_classes(*given)

    monkeypatch.setattr(features, "weigh_classes", weigh)
    classes = noted(crowd(FIRST_FIT, KINDS)[0])
    refit(classes)
    assert classes.read(in_one_field([1, 2, 3]))
    for _ in classes.refit_in_slices(7):
        pass
    assert len(types) == 1


def test_the_likeliest_classes_become_features_in_their_order() -> None:
    named, chances = np.arange(CLASSES, dtype=np.uint64), np.zeros(CLASSES)
    chances[[4, 2, 9]] = 0.2, 0.5, 0.3
    hashes, values, kinds = np.zeros(10, np.uint64), np.zeros(10), np.ones(10, np.int64)
    assert add_classes(chances, named, LISTED, 2.0, hashes, values, kinds, 1) == 1 + LISTED
    assert hashes[1 : 1 + LISTED].tolist() == [2, 9, 4]
    assert values[1 : 1 + LISTED].tolist() == [1.0, 0.6, 0.4]


def test_words_are_texts_items_of_lists_and_the_nearest_knot_of_a_number() -> None:
    fields = FeatureFields("request")
    said: dict[int, int] = {}
    for number in range(300):
        fields.hash_features({"age": float(number), "city": f"c{number}"}, 40, print, said)
        if number == 254:
            assert len(said) == BUSY, "rare values and numbers without knots are no words"
    said.clear()
    features = {"age": 101.5, "os": "a", "likes": ["x", "y"], "city": "new"}
    hashes, _ = fields.hash_features(features, 40, print, said)
    assert len(hashes) == 6
    assert len(said) == 4
    assert set(said) < set(hashes)
    assert len(set(said.values())) == 3, "each word has its field"


def of_places(viewer: int) -> dict[int, int]:
    """What repeats: a city, and the country and the time zone of the city."""
    city = viewer * 7 % 40
    return {10_000 + city: 1, 11_000 + city % 5: 2, 12_000 + city % 5: 3}


def test_fields_that_repeat_each_other_make_no_classes() -> None:
    people, _ = crowd(FIRST_FIT, 1)
    classes = LatentClasses()
    for viewer, said in enumerate(people):
        classes.note(viewer, in_one_field(said) | of_places(viewer), is_new=True)
    refit(classes)
    assert not classes.read(of_places(1))


def of_nothing(viewer: int) -> dict[int, int]:
    """What tells nothing: thirty fields of a value each."""
    values = np.random.default_rng(viewer).integers(0, 20, 30).tolist()
    return {20_000 + 100 * field + value: 10 + field for field, value in enumerate(values)}


def test_fields_that_tell_nothing_hide_no_kinds_of_people() -> None:
    people, kinds = crowd(FIRST_FIT, KINDS)
    classes, of_kind = LatentClasses(), np.zeros((KINDS, CLASSES))
    for viewer, said in enumerate(people):
        classes.note(viewer, in_one_field(said) | of_nothing(viewer), is_new=True)
    refit(classes)
    for viewer, (said, kind) in enumerate(zip(people, kinds, strict=True)):
        assert classes.read(in_one_field(said) | of_nothing(viewer))
        of_kind[kind, classes.chances.argmax()] += 1
    assert of_kind.max(axis=0).sum() / FIRST_FIT > 0.85
    unlike = [classes.scores[classes.words[word]].any() for word in of_nothing(1)]
    assert not any(unlike), "their words have no part in classes"


def test_kinds_of_people_are_found_beside_fields_that_repeat_each_other() -> None:
    people, kinds = crowd(FIRST_FIT, KINDS)
    classes, of_kind = LatentClasses(), np.zeros((KINDS, CLASSES))
    for viewer, said in enumerate(people):
        classes.note(viewer, in_one_field(said) | of_places(viewer), is_new=True)
    refit(classes)
    for viewer, (said, kind) in enumerate(zip(people, kinds, strict=True)):
        assert classes.read(in_one_field(said) | of_places(viewer))
        of_kind[kind, classes.chances.argmax()] += 1
    assert of_kind.max(axis=0).sum() / FIRST_FIT > 0.85


def test_classes_are_the_same_compiled_and_as_python() -> None:
    code = "from tests.delivery.test_classes import digest_of_fit; print(digest_of_fit())"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    found = [
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**environment, "NUMBA_DISABLE_JIT": off, "PYTHONPATH": "."},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for off in ("0", "1")
    ]
    assert found[0] == found[1]


def digest_of_fit() -> str:
    """What a small fit gives, as a digest."""
    classes = noted(crowd(60, KINDS)[0])
    shares, scores, prior = np.zeros((60, 5)), np.zeros((len(classes.words), 5)), np.zeros(5)
    begin_classes(np.uint64(3), shares)
    fit_classes(classes.bags, classes.sizes, 0, 60, 4, shares, scores, prior)
    chances = np.zeros(5)
    weigh_classes(scores, prior, classes.bags[0], int(classes.sizes[0]), chances)
    for viewer in range(60):
        classes.note(60 + viewer, of_places(viewer), is_new=True)
    fields = classes.field_of[: len(classes.words)]
    told = measure_repetition(classes.bags, classes.sizes, fields, 100, 120, 120)
    assert told[1, 2:].min() > 0.1 > told[:, 1].max()
    gains = judge_classes(classes.bags, classes.sizes, fields, 40, 60, 60, scores, prior)
    arrays = (shares, scores, prior, chances, told, gains)
    return hashlib.sha256(b"".join(each.tobytes() for each in arrays)).hexdigest()
