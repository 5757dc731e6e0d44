"""What stands in which column of the arrays that kernels work on.

Times in arrays are seconds since 1970, money is micros (prices and offers: of a thousand views).
"""

from typing import Final

# Heads: the questions that the learner answers, each given the one before it.
CLICK: Final = 0
CONVERSATION: Final = 1
LEAD: Final = 2
SPAM: Final = 3
BAD: Final = 4
"""Of a lead: whether the advertiser finds it unqualified, or its chat is spam."""
HEADS: Final = 5
FIRST_AGAIN: Final = CLICK
HEADS_AGAIN: Final = 4
"""Click, conversation, lead and spam are learned again and again from all that is kept of them."""

# Kinds of features that describe a request; the kind says with what a feature is crossed.
CONTEXT: Final = 0
"""What the request says: crossed with the ad and with each feature of the ad."""
HISTORY: Final = 1
"""What the viewer did before: crossed with nothing."""
TIME: Final = 2
"""The time: crossed with nothing."""

# Families of features: those of one family share the variance that is expected of a weight.
BIAS: Final = 0
F_CONTEXT: Final = 1
F_HISTORY: Final = 2
F_TIME: Final = 3
F_AD: Final = 4
F_AD_FEATURE: Final = 5
F_CONTEXT_AD: Final = 6
F_CONTEXT_FEATURE: Final = 7
F_BETWEEN: Final = 8
F_VIEWER: Final = 9
F_STACKED: Final = 10
FAMILIES: Final = 11

# Viewers.
V_EFFECT: Final = 0
V_VARIANCE: Final = V_EFFECT + HEADS
V_VIEWS: Final = V_VARIANCE + HEADS
V_CLICKS: Final = V_VIEWS + 1
V_CONVERSATIONS: Final = V_VIEWS + 2
V_LEADS: Final = V_VIEWS + 3
V_SPAM: Final = V_VIEWS + 4
V_DECAYED_AT: Final = V_VIEWS + 5
V_REQUESTED_AT: Final = V_VIEWS + 6
V_ALL_VIEWS: Final = V_VIEWS + 7
V_FARM: Final = V_VIEWS + 8
"""What speaks for a click farm: a logarithm of odds, see `farms`."""
VIEWER_COLUMNS: Final = V_VIEWS + 9
RECENT_ADS: Final = 32
KNOWN_ADVERTISERS: Final = 8
TALKED: Final = 1
IS_LEAD: Final = 2

# What the heads before a head say to it.
K_CLICK: Final = 0
"""How far the estimate of a click is from the usual."""
K_FIT: Final = 1
"""What of its score lies between what the request says and the ad: how well they fit."""
K_CONVERSATION: Final = 2
"""How far the estimate of a conversation is from the usual."""
STACKED: Final = 3

# Ads.
A_GROUP: Final = 0
A_ON: Final = 1
A_FEATURES: Final = 2
AD_COLUMNS: Final = 3
MOST_AD_FEATURES: Final = 24

# Ad groups.
G_OPEN: Final = 0
G_STARTS: Final = 1
G_ENDS: Final = 2
G_AVAILABLE: Final = 3
"""What one view may cost at most, in micros of a thousand views: what is left of the budget."""
G_MULTIPLIER: Final = 4
"""What one conversion is worth now under the budget and the cost target, micros."""
G_GOAL: Final = 5
G_ADVERTISER: Final = 6
G_OFFSET: Final = 7
"""Seconds that the zone of the ad group is ahead of UTC."""
G_REQUESTS: Final = 8
"""Requests that it could have served, fading."""
G_CALIBRATION: Final = 9
GROUP_COLUMNS: Final = G_CALIBRATION + HEADS

# What lies between a viewer and an ad; each has a table of hashes by its value.
B_SHOWN: Final = 0
"""Views of the ad by the viewer; views of a day ago count half."""
B_SINCE: Final = 1
"""Time since the last one."""
B_CLICKED: Final = 2
B_TALKED: Final = 3
B_HOUR: Final = 4
B_WEEKDAY: Final = 5
B_WEEK: Final = 6
"""Views of the ad by the viewer; views of a week ago count half."""
B_WEEK_OF_AD: Final = 7
"""The same, crossed with the ad: people tire of one ad sooner than of another."""
B_GROUP: Final = 8
"""Views of all ads of the ad group by the viewer; views of a week ago count half."""
B_ADVERTISER: Final = 9
"""Views of all ads of the advertiser by the viewer; views of a week ago count half."""
BETWEEN: Final = 10
BETWEEN_VALUES: Final = 32

# What a viewer saw lately, one row for each ad.
M_AD: Final = 0
M_GROUP: Final = 1
M_ADVERTISER: Final = 2
M_DAY: Final = 3
M_WEEK: Final = 4
M_SINCE: Final = 5
M_CLICKED: Final = 6
VIEWED: Final = 7

# Settings that kernels need.
S_SPAM_POWER: Final = 0
S_BAD_WEIGHT: Final = 1
S_TEMPERATURE: Final = 2
S_EXPLORE: Final = 3
S_RANDOM: Final = 4
S_FLOOR_VARIANCE: Final = 5
S_VIEWER_SLOPE: Final = 6
"""By which power more or less than it says what a viewer is worth counts, see `O_VIEWER`, …"""
S_VIEWER_MEAN: Final = 7
"""… and at which logarithm of it that changes nothing."""
S_VIEWER: Final = 8
"""What the viewer is worth, if it is given; 0 if it is to be found from the ads that may serve."""
S_FARM_PRIOR: Final = 9
"""The logarithm of the odds that a new viewer is a click farm."""
SETTINGS: Final = 10

# Of an ad that may serve: its scores, its estimates, …
R_SCORE: Final = 2 * HEADS
"""… what a view is worth to its ad group, …"""
R_FIT: Final = 2 * HEADS + 1
"""… and how well it fits the request (see `K_FIT`)."""
RAWS: Final = 2 * HEADS + 2

# The answer of the auction.
O_AD: Final = 0
O_OFFER: Final = 1
O_PRICE: Final = 2
O_PROPENSITY: Final = 3
O_SCORE: Final = 4
O_P: Final = 5
O_RAW: Final = O_P + HEADS
O_FIT: Final = O_RAW + HEADS
"""How well the ad fits the request, see `K_FIT`."""
O_VIEWER: Final = O_FIT + 1
"""What the viewer is worth: the logarithm of the chance of a lead, as a mean of the ads that may serve."""
OUTCOME: Final = O_VIEWER + 1

BINS: Final = 640
BINS_AN_OCTAVE: Final = 16
LOWEST_OCTAVE: Final = 8
MOST_CONTEXT: Final = 72
"""Features of one request, those of the viewer's history included."""
DAY_S: Final = 86_400.0
