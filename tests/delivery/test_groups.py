"""Ads and the features that they have."""

import msgspec
import numpy as np

from contatto.learning.columns import A_FEATURES, MOST_AD_FEATURES
from contatto.learning.features import name_hash
from contatto.learning.market import Groups
from contatto.learning.model import AdGroupLine, AdLine
from contatto.learning.storage import from_builtin, to_builtin

WORD = name_hash("is", "word")


def groups_of(*advertisers: str) -> Groups:
    """An ad group with no ad for each of some advertisers, numbered from 0."""
    groups = Groups()
    for number, advertiser in enumerate(advertisers):
        groups.set_group(AdGroupLine(ts=0, adgroup_id=str(number), advertiser_id=advertiser), 0)
    return groups


def add_ad(groups: Groups, ad_id: str, group: int, names: list[int]) -> None:
    groups.set_ad(AdLine(ts=0, ad_id=ad_id, adgroup_id=str(group)), (names, [0.5] * len(names)))


def features_of(groups: Groups, ad_id: str) -> list[tuple[int, float]]:
    """The hashed features of an ad, with their values."""
    ad = groups.ad_by_id[ad_id]
    count = groups.ads[ad, A_FEATURES]
    names = groups.feature_hashes[groups.ad_features[ad, :count]]
    return list(zip(names.tolist(), groups.ad_values[ad, :count].tolist(), strict=True))


def test_an_advertiser_with_several_ads_is_a_feature_of_each_and_one_with_a_single_ad_is_none() -> None:
    groups = groups_of("anna", "bea", "anna")
    add_ad(groups, "first", 0, [WORD])
    add_ad(groups, "other", 1, [WORD])
    assert features_of(groups, "first") == features_of(groups, "other") == [(WORD, 0.5)]
    add_ad(groups, "second", 2, [])
    add_ad(groups, "third", 0, [])
    anna = (name_hash("advertiser", "anna"), 1.0)
    assert features_of(groups, "first") == [(WORD, 0.5), anna]
    assert features_of(groups, "second") == features_of(groups, "third") == [anna]
    assert features_of(groups, "other") == [(WORD, 0.5)]


def test_an_ad_that_changes_keeps_its_advertiser_and_no_more_features_than_there_is_room_for() -> None:
    groups = groups_of("anna")
    add_ad(groups, "first", 0, [WORD])
    add_ad(groups, "second", 0, [WORD])
    add_ad(groups, "first", 0, [])
    assert features_of(groups, "first") == [(name_hash("advertiser", "anna"), 1.0)]
    many = np.arange(1, MOST_AD_FEATURES + 1).tolist()
    add_ad(groups, "first", 0, many)
    assert [name for name, _ in features_of(groups, "first")] == many


def test_what_was_kept_knows_the_ads_of_each_advertiser() -> None:
    groups = groups_of("anna")
    add_ad(groups, "first", 0, [])
    saved = msgspec.msgpack.encode(groups, enc_hook=to_builtin)
    again = msgspec.msgpack.decode(saved, type=Groups, dec_hook=from_builtin)
    assert again.ads_of == {"anna": [0]}
