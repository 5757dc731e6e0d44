"""How likely a viewer is a click farm: one that clicks on nearly anything, and whose chats are spam.

Theory. How far people differ is expected to be small, so what is thought of one viewer moves slowly. A farm
is no such person but of another kind, and few views tell it: the odds of "a farm" to "who was expected" are
multiplied by how much likelier each thing that happened is for a farm (Bayes' rule for two kinds). What
is expected of a person is what was estimated, but never far above the usual rate of the market: else
features that farms share would learn to explain them. Nothing is learned from who is likelier a farm.

Source: Wald 1945 (the sequential test of two hypotheses by their likelihood ratio).
"""

import math
from typing import Final

from contatto.delivery.rules.columns import CLICK, LEAD, SPAM, V_FARM
from contatto.delivery.rules.learner import logistic
from contatto.kit.kernels import Array, compiled

FEWEST: Final = 1.0 / 150.0
"""The share of clicks that farms make before anything was seen, and the least that is expected, …"""
MOST: Final = 0.05
"""… and the most."""
PRIOR_CLICKS: Final = 30.0
"""So many clicks that first share is worth."""
CLICKS: Final = 0.35
"""How likely a farm clicks on a view, …"""
SPAMS: Final = 0.9
"""… how likely a chat of it is found to be spam, …"""
LEADS: Final = 0.02
"""… and how likely a good contact comes of one."""
_LEAST, _MOST = -5.0, 12.0
ABOVE_USUAL: Final = 3.0
"""No person is expected to do a thing more than so many times as often as is usual."""
MOST_EXPECTED: Final = {CLICK: 0.15, SPAM: 0.5, LEAD: 0.9}
"""Nor more often than this: where one viewer makes most clicks of a market, these are not usual."""
SUSPECT: Final = 0.5
"""Nothing is learned from viewers whom it trusts less than this."""
_NEVER: Final = 0.01
"""No expectation is taken for surer than this."""
_OF_FARMS: Final = {CLICK: CLICKS, SPAM: SPAMS, LEAD: LEADS}


def evidence_of(head: int, expected: float, usual: float, *, came: bool) -> float:
    """What something that came, or did not, says for a farm: the logarithm of a likelihood ratio.

    Args:
        head: the question that it answers: click, spam or lead.
        expected: how likely it was thought to be.
        usual: how likely it is in the whole market.
        came: whether it did.
    """
    p = min(max(min(expected, ABOVE_USUAL * usual, MOST_EXPECTED[head]), _NEVER), 1.0 - _NEVER)
    of_farms = _OF_FARMS[head]
    return math.log(of_farms / p) if came else math.log((1.0 - of_farms) / (1.0 - p))


def add_evidence(row: Array, amount: float) -> None:
    """Let something speak for or against a farm, within bounds: nobody is beyond change."""
    row[V_FARM] = min(max(float(row[V_FARM]) + amount, _LEAST), _MOST)


def prior_of(farm_clicks: float, clicks: float) -> float:
    """The logarithm of the odds that a new viewer is a farm, by the clicks that farms make now.

    Farms come in bursts of new viewers, each of whom does little. Where many were found lately, little is
    needed to tell the next one.
    """
    share = (farm_clicks + FEWEST * PRIOR_CLICKS) / (clicks + PRIOR_CLICKS)
    share = min(max(share, FEWEST), MOST)
    return math.log(share / (1.0 - share))


FIRST_PRIOR: Final = prior_of(0.0, 0.0)
"""Before anything was seen."""


@compiled
def trust_in(viewers: Array, viewer: int, prior: float) -> float:
    """Return how likely a viewer is no farm; nobody (row 0) is trusted."""
    return 1.0 - logistic(prior + float(viewers[viewer, V_FARM])) if viewer > 0 else 1.0
