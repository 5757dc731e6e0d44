"""Columns and names of the arrays that kernels read and write.

Times are in seconds since 1970, money in micros (prices and bids: of a thousand views). Names in kernels:

- hashes, values, kinds: features of a request, ``count`` of them.
- table, shift: weights by slot and head (see `slot_of`).
- slots, weights, families: weights of an observation, with the values and families of its features.
- spread, viewer_spread: prior variances of weights by family and head, and of viewers' effects by head.
- viewers, viewer: table of viewers, and the row of one.
- recent, shown_at: recent ads by viewer, with the time of the last view.
- shown, weekly: their views with a half-life of a day (negative after a click) and of a week.
- contacts, flags: advertisers with a conversation by viewer, and its result.
- ads, ad_hashes, ad_features, ad_values: table of ads, with their hashes and features.
- groups, allowed: table of ad groups, and their countries.
- prices, counts: landscape of an ad group: total price and number of requests by lowest winning multiplier.
- feature_hashes, crosses: features of ads, and marks of those that interact with the request.
- names, between: hashes of interactions of viewer and ad, by kind and value, and by kind.
- into: output.
"""

from typing import Final

# Heads: the predicted outcomes, each conditional on the one before it.
CLICK: Final = 0
CONVERSATION: Final = 1
LEAD: Final = 2
SPAM: Final = 3
BAD: Final = 4
"""A lead that is unqualified or spam."""
HEADS: Final = 5
FITS: Final = LEAD + 1
"""Heads before this one depend on the fit of ad and viewer."""

# Kinds of request features; the kind decides about feature interactions.
CONTEXT: Final = 0
"""A field of the request: interacts with the ad and with each of its features."""
HISTORY: Final = 1
"""Earlier actions of the viewer: no interactions."""

# Families of features; the weights of a family share a prior variance.
BIAS: Final = 0
F_CONTEXT: Final = 1
F_HISTORY: Final = 2
F_AD: Final = 3
F_AD_FEATURE: Final = 4
F_CONTEXT_AD: Final = 5
F_CONTEXT_FEATURE: Final = 6
F_BETWEEN: Final = 7
F_VIEWER: Final = 8
F_CONTACT: Final = 9
FAMILIES: Final = 10

# Viewers.
V_EFFECT: Final = 0
V_VIEWS: Final = V_EFFECT + HEADS
V_CLICKS: Final = V_VIEWS + 1
V_CONVERSATIONS: Final = V_VIEWS + 2
V_LEADS: Final = V_VIEWS + 3
V_SPAM: Final = V_VIEWS + 4
V_DECAYED_AT: Final = V_VIEWS + 5
V_REQUESTED_AT: Final = V_VIEWS + 6
V_ALL_VIEWS: Final = V_VIEWS + 7
V_FARM: Final = V_VIEWS + 8
"""Evidence of a click farm, as log-odds; see `learner.add_evidence`."""
VIEWER_COLUMNS: Final = V_VIEWS + 9
RECENT_ADS: Final = 32
KNOWN_ADVERTISERS: Final = 8
TALKED: Final = 1
IS_LEAD: Final = 2

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
"""Highest possible price of a view, micros of a thousand views: the remaining budget."""
G_MULTIPLIER: Final = 4
"""Pacing multiplier: value of a conversion under budget and cost target, micros."""
G_GOAL: Final = 5
G_ADVERTISER: Final = 6
G_OFFSET: Final = 7
"""UTC offset of the ad group's time zone, seconds."""
G_REQUESTS: Final = 8
"""Decayed count of eligible requests."""
G_CALIBRATION: Final = 9
GROUP_COLUMNS: Final = G_CALIBRATION + HEADS

# Interactions of viewer and ad; each has a table of hashes by value.
B_SHOWN: Final = 0
"""The viewer's views of the ad, with a half-life of a day."""
B_SINCE: Final = 1
"""Time since the last view."""
B_CLICKED: Final = 2
B_TALKED: Final = 3
B_HOUR: Final = 4
B_WEEKDAY: Final = 5
B_WEEK: Final = 6
"""The viewer's views of the ad, with a half-life of a week."""
B_WEEK_OF_AD: Final = 7
"""B_WEEK crossed with the ad: ads differ in fatigue."""
B_GROUP: Final = 8
"""The viewer's views of all ads of the ad group, with a half-life of a week."""
B_ADVERTISER: Final = 9
"""The viewer's views of all ads of the advertiser, with a half-life of a week."""
BETWEEN: Final = 10
BETWEEN_VALUES: Final = 32

# Recent ads of a viewer, one row per ad.
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
S_FARM_PRIOR: Final = 5
"""Log-odds that a new viewer is a click farm."""
S_SLOPE: Final = 6
"""Calibration slope of each head (see `learner.sloped`), and …"""
S_MEAN: Final = S_SLOPE + HEADS
"""… the score that it leaves unchanged."""
SETTINGS: Final = S_MEAN + HEADS

# An eligible ad: scores, calibrated predictions, …
R_SCORE: Final = 2 * HEADS
"""… and the value of a view in conversions."""
RAWS: Final = 2 * HEADS + 1

# Result of the auction.
O_AD: Final = 0
O_OFFER: Final = 1
O_PRICE: Final = 2
O_PROPENSITY: Final = 3
O_P: Final = 4
O_RAW: Final = O_P + HEADS
O_SCORE: Final = O_RAW + HEADS
"""The value of a view in conversions, see `R_SCORE`."""
OUTCOME: Final = O_SCORE + 1

BINS: Final = 640
BINS_AN_OCTAVE: Final = 16
LOWEST_OCTAVE: Final = 8
MOST_CONTEXT: Final = 72
"""Features of a request, with those of the viewer's history."""
SECOND: Final = 1_000_000
"""Microseconds."""
DAY_S: Final = 86_400
DAY_US: Final = DAY_S * SECOND
