"""Which rows a request names, in which order they are taken, and which act fits which level."""

import pytest

from contatto.ads.model import NodeKind
from contatto.ads.rules.tree import DONE, MOST_ROWS, Act, check_fits, read_places
from contatto.kit import errors
from contatto.kit.errors import Refused


def test_rows_are_taken_once_and_from_below() -> None:
    found = read_places(["campaigns-1", "ads-3", "ad-groups-2", "ads-3", "ads-1"])
    assert found == ((NodeKind.AD, 3), (NodeKind.AD, 1), (NodeKind.AD_GROUP, 2), (NodeKind.CAMPAIGN, 1))


@pytest.mark.parametrize(
    "value", ["", "ads", "ads-", "ads-x", "leads-1", "-1", "ads-٣", f"ads-{1 << 63}", "ads-1\n"]
)
def test_what_is_no_row_is_refused(value: str) -> None:
    with pytest.raises(Refused) as refused:
        read_places(["ads-1", value])
    assert refused.value.code is errors.INVALID


def test_no_row_and_too_many_rows_are_refused() -> None:
    assert len(read_places(f"ads-{number}" for number in range(MOST_ROWS))) == MOST_ROWS
    for values in ([], [f"ads-{number}" for number in range(MOST_ROWS + 1)]):
        with pytest.raises(Refused):
            read_places(values)


def test_a_budget_is_of_campaigns_and_ad_groups_and_a_bid_of_ad_groups() -> None:
    def fits(act: Act, kind: NodeKind) -> bool:
        try:
            check_fits(act, kind)
        except Refused:
            return False
        return True

    assert [kind for kind in NodeKind if fits(Act.BUDGET, kind)] == [NodeKind.CAMPAIGN, NodeKind.AD_GROUP]
    assert [kind for kind in NodeKind if fits(Act.BID, kind)] == [NodeKind.AD_GROUP]
    for act in (Act.PAUSE, Act.START, Act.DELETE):
        assert all(fits(act, kind) for kind in NodeKind)
    assert set(DONE) == set(Act)
