"""From the filters of a list to what the store is asked."""

from typing import Literal

from contatto.ads.api.schemas import Filtering, ListQuery
from contatto.ads.model import NodeFilter, Page
from contatto.ads.rules.goals import GOAL_ALIASES, OPTIMIZATION_GOALS
from contatto.ads.rules.statuses import PRIMARY_STATUSES
from contatto.measurement.model import Goal


def wanted_of(
    filtering: Filtering | None, name_field: Literal["campaign_name", "adgroup_name", "ad_name"]
) -> NodeFilter:
    """What the filters of a list select."""
    filters = filtering or Filtering()
    return NodeFilter(
        campaign_numbers=_numbers(filters.campaign_ids),
        ad_group_numbers=_numbers(filters.adgroup_ids),
        ad_numbers=_numbers(filters.ad_ids or filters.smart_plus_ad_ids),
        name_part=getattr(filters, name_field),
        statuses=PRIMARY_STATUSES[filters.primary_status],
        goals=_goals(filters.optimization_goal),
    )


def _goals(name: str | None) -> frozenset[Goal] | None:
    """The goals that a filter's word stands for; a goal of other ads has no ad group here."""
    if name is None:
        return None
    wanted = GOAL_ALIASES.get(name, name)
    return frozenset(goal for goal, ours in OPTIMIZATION_GOALS.items() if ours == wanted)


def _numbers(ids: list[int] | None) -> frozenset[int] | None:
    return None if ids is None else frozenset(ids)


def page_of(query: ListQuery) -> Page:
    return Page(query.page, query.page_size)
