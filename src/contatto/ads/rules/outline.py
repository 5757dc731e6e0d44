"""The tree of an ad account: campaigns, their ad groups and their ads, each with its delivery status."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from contatto.ads.model import Ad, AdGroup, Campaign, NodeKind
from contatto.ads.rules.delivering import (
    Above,
    Delivering,
    ad_delivery,
    ad_group_delivery,
    ad_group_hurdle,
    campaign_delivery,
)


@dataclass(frozen=True, slots=True)
class Node:
    """A campaign, an ad group or an ad with what lies under it."""

    kind: NodeKind
    item: Campaign | AdGroup | Ad
    state: Delivering
    under: "tuple[Node, ...]" = ()

    def walk(self) -> "Iterator[Node]":
        """The node itself and all that lies under it."""
        yield self
        for node in self.under:
            yield from node.walk()


def build_outline(
    campaigns: Iterable[Campaign], groups: Iterable[tuple[AdGroup, Above]], ads: Iterable[Ad], now: datetime
) -> list[Node]:
    """The campaigns as a tree; everything keeps the order in which it was given."""
    ads_of: defaultdict[str, list[Ad]] = defaultdict(list)
    for ad in ads:
        ads_of[ad.ad_group_id].append(ad)
    groups_of: defaultdict[str, list[Node]] = defaultdict(list)
    for group, above in groups:
        groups_of[group.campaign_id].append(_group_node(group, above, ads_of[group.id], now))
    return [_campaign_node(campaign, groups_of[campaign.id]) for campaign in campaigns]


def _campaign_node(campaign: Campaign, under: Sequence[Node]) -> Node:
    state = campaign_delivery(campaign, [node.state for node in under])
    return Node(NodeKind.CAMPAIGN, campaign, state, tuple(under))


def _group_node(group: AdGroup, above: Above, ads: list[Ad], now: datetime) -> Node:
    hurdle = ad_group_hurdle(group, above, now)
    under = tuple(Node(NodeKind.AD, ad, ad_delivery(ad, hurdle)) for ad in ads)
    return Node(NodeKind.AD_GROUP, group, ad_group_delivery(group, above, ads, now), under)
