"""Two days of traffic in a running house, for the tests of the API and the pages of reports."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from contatto.kit.db.tx import Tx
from contatto.kit.values import micros
from contatto.measurement import actions as measurement
from contatto.measurement import store as measured
from contatto.measurement.actions import NewConversion
from contatto.measurement.model import ConversionKind, TouchKind
from contatto.reports.engines import CountQuery, load_counted
from contatto.reports.model import Counts, DayRange, Grain
from tests.journeys.running import House, running_house
from tests.make import record_touch

DAY_ONE = datetime(2026, 11, 20, 3, tzinfo=UTC)


@dataclass
class Traffic:
    house: House
    lead: dict[str, str]
    talk: dict[str, str]


@pytest.fixture(scope="module")
def traffic(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traffic]:
    """Two days: the lead ad group earns a lead a day, the other one a conversation on the first."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        lead, talk = house.make_ad("LEAD_GENERATION"), house.make_ad("CONVERSATION")

        def work(tx: Tx) -> None:
            for day in (0, 1):
                see(tx, house, lead, f"lead {day}", DAY_ONE + timedelta(days=day))
                earn(tx, house, ConversionKind.LEAD, f"lead {day}", DAY_ONE + timedelta(days=day, hours=1))
            see(tx, house, talk, "talk", DAY_ONE)
            earn(tx, house, ConversionKind.CONVERSATION, "talk", DAY_ONE + timedelta(hours=1))

        house.context.db.write_now(work)
        yield Traffic(house, lead, talk)


def see(tx: Tx, house: House, ids: dict[str, str], person: str, at: datetime) -> None:
    """A view that costs 0.25 and a click, by one person."""
    ad = measured.find_measured_ad_by_number(tx, house.business_id, int(ids["ad_id"]))
    assert ad is not None
    for kind, cost in ((TouchKind.VIEW, 250_000), (TouchKind.CLICK, 0)):
        touch_id = abs(hash((person, kind, at))) >> 1
        record_touch(tx, measurement.stamp_touch(ad, kind, person, micros(at), touch_id, cost))


def earn(tx: Tx, house: House, kind: ConversionKind, person: str, at: datetime) -> None:
    measurement.record_conversions(
        tx, [NewConversion(house.business_id, person, kind, f"of {person}", micros(at))]
    )


def hours_of(tx: Tx, account: tuple[str, str], span: DayRange) -> dict[str, Counts]:
    """Return the counts of an account by hour."""
    return load_counted(tx, *account, span, CountQuery(Grain.AD_DAY, hours=Grain.ACCOUNT_HOUR))[1]
