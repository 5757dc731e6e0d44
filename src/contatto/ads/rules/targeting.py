"""Whom an ad group may choose, as data, and which choices go together."""

from collections.abc import Collection, Iterable
from typing import Final

from contatto.ads.model import AgeGroup, Targeting
from contatto.kit import errors
from contatto.kit.errors import Refused
from contatto.kit.i18n import N_

LANGUAGES: Final = {
    "ar": "العربية",
    "en": "English",
    "es": "Español",
    "fil": "Filipino",
    "he": "עברית",
    "hi": "हिन्दी",
    "id": "Bahasa Indonesia",
    "it": "Italiano",
    "ja": "日本語",
    "km": "ខ្មែរ",
    "ko": "한국어",
    "ms": "Bahasa Melayu",
    "pt": "Português",
    "si": "සිංහල",
    "sw": "Kiswahili",
    "ta": "தமிழ்",
    "th": "ไทย",
    "ur": "اردو",
    "vi": "Tiếng Việt",
    "zh": "中文",
}
"""Languages by their ISO 639 code, each under its own name: it needs no translation."""

AGES: Final = {
    AgeGroup.FROM_13: "13–17",
    AgeGroup.FROM_18: "18–24",
    AgeGroup.FROM_25: "25–34",
    AgeGroup.FROM_35: "35–44",
    AgeGroup.FROM_45: "45–54",
    AgeGroup.FROM_55: "55+",
}
_LEAST_AGES: Final = ((55, AgeGroup.FROM_55), (45, AgeGroup.FROM_45), (35, AgeGroup.FROM_35),
                      (25, AgeGroup.FROM_25), (18, AgeGroup.FROM_18), (13, AgeGroup.FROM_13))  # fmt: skip

INTERESTS: Final = {
    "10": N_("Education"),
    "11": N_("Vehicles and transport"),
    "12": N_("Baby, kids and maternity"),
    "13": N_("Financial services"),
    "14": N_("Beauty and personal care"),
    "15": N_("Technology and electronics"),
    "16": N_("Appliances"),
    "17": N_("Travel"),
    "18": N_("Household products"),
    "19": N_("Pets"),
    "20": N_("Apps"),
    "21": N_("Home improvement"),
    "22": N_("Clothing and accessories"),
    "23": N_("News and entertainment"),
    "24": N_("Business services"),
    "25": N_("Games"),
    "26": N_("Life services"),
    "27": N_("Food and beverage"),
    "28": N_("Sports and outdoors"),
    "29": N_("Property"),
}
"""Our own list of interests by id; publishers name them in their ad requests."""

MOST_AUDIENCES: Final = 50


def age_group_of(age: int) -> AgeGroup | None:
    """The age group of a person; None for a child under 13, to whom nothing is shown by age."""
    return next((group for least, group in _LEAST_AGES if age >= least), None)


def check_targeting(chosen: Targeting, audiences: Collection[str]) -> Targeting:
    """The choices, each once and in order.

    Args:
        chosen: what was chosen.
        audiences: the numbers of the ad account's own audiences.

    Raises:
        Refused: INVALID, for an unknown value, and for an audience that is both included and excluded.
    """
    both = sorted(set(chosen.audience_ids) & set(chosen.excluded_audience_ids))
    if both:
        raise Refused(
            errors.INVALID,
            "excluded_audience_ids: audience %(audience)s is included as well.",
            audience=both[0],
        )
    for name in ("audience_ids", "excluded_audience_ids"):
        if len(getattr(chosen, name)) > MOST_AUDIENCES:
            raise Refused(
                errors.INVALID, "%(field)s: choose at most %(most)s.", field=name, most=MOST_AUDIENCES
            )
    return Targeting(
        languages=_known("languages", chosen.languages, LANGUAGES),
        age_groups=_known("age_groups", chosen.age_groups, [group.value for group in AgeGroup]),
        interest_category_ids=_known("interest_category_ids", chosen.interest_category_ids, INTERESTS),
        audience_ids=_known("audience_ids", chosen.audience_ids, audiences),
        excluded_audience_ids=_known("excluded_audience_ids", chosen.excluded_audience_ids, audiences),
    )


def _known(field: str, chosen: Iterable[str], allowed: Collection[str]) -> tuple[str, ...]:
    wanted = sorted(set(chosen))
    unknown = [value for value in wanted if value not in allowed]
    if unknown:
        raise Refused(
            errors.INVALID,
            "%(field)s: %(value)s is not available.",
            field=field,
            value=unknown[0],
        )
    return tuple(wanted)
