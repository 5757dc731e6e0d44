"""Names of things that people choose from: those that are alike are told apart by something of their own."""

from collections import Counter
from collections.abc import Mapping, Sequence

from contatto.ads.model import Ad, AdGroup


def tell_apart(named: Sequence[tuple[str, str]]) -> list[str]:
    """The names of pairs of a name and a mark; the mark stands behind a name that comes more than once."""
    counts = Counter(name for name, _ in named)
    return [f"{name} · {mark}" if counts[name] > 1 else name for name, mark in named]


def name_apart(ads: Sequence[Ad], groups: Mapping[str, AdGroup]) -> dict[int, str]:
    """The names of ads by their numbers; what is alike gets its ad group, and if that is alike the number."""
    by_group = tell_apart([(ad.name, groups[ad.ad_group_id].name) for ad in ads])
    names = tell_apart([(name, str(ad.number)) for name, ad in zip(by_group, ads, strict=True)])
    return {ad.number: name for ad, name in zip(ads, names, strict=True)}
