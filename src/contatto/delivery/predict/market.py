"""All that a marketplace knows, in one value that can be saved, and its settings."""

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import Final

import numpy as np

from contatto.delivery.predict.classes import Classes
from contatto.delivery.predict.fields import Fields
from contatto.delivery.predict.frequency import FrequencyCaps
from contatto.delivery.predict.groups import Groups
from contatto.delivery.predict.learned import Calibration, Learned, Viewers
from contatto.delivery.predict.records import Records, Shown, Snapshots
from contatto.delivery.predict.traffic import Traffic
from contatto.delivery.predict.waiting import Waiting
from contatto.delivery.rules.columns import (
    BETWEEN,
    MOST_CONTEXT,
    OUTCOME,
    S_BAD_WEIGHT,
    S_EXPLORE,
    S_FARM_PRIOR,
    S_FLOOR_VARIANCE,
    S_RANDOM,
    S_SPAM_POWER,
    S_TEMPERATURE,
)
from contatto.delivery.rules.columns import SETTINGS as SETTING_COLUMNS
from contatto.delivery.rules.farms import FIRST_PRIOR

type Slices = Generator[None]
FIRST_USUAL: Final = (0.03, 0.3, 0.3, 0.15, 0.15)
"""How likely the answer to each head is yes, before anything was seen."""
SEEN: Final = -1
"""An ad was seen, which no head foretells."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A number that `--setting NAME=VALUE` changes."""

    value: float
    least: float
    most: float
    says: str


SETTINGS: Final = {
    "spam_power": Setting(
        0.5, 0.0, 4.0, "How much spam chats are avoided: the score times (1 - p_spam) to this power."
    ),
    "bad_weight": Setting(0.5, 0.0, 1.0, "How much leads that will be found unqualified count less."),
    "temperature": Setting(0.03, 0.001, 1.0, "How near two offers must be to be drawn by lot."),
    "explore": Setting(
        0.003, 0.0, 1.0, "The share of requests that go to any ad whose offer reaches the floor."
    ),
    "forget": Setting(0.02, 0.0, 1.0, "How much less sure every weight gets in a day."),
    "floor_variance": Setting(
        0.004, 0.0, 1.0, "The least variance of a weight, as a share of that of an unseen one."
    ),
    "table_bits": Setting(20, 12, 26, "Weights are kept in a table of two to this power."),
    "click_wait_s": Setting(600, 10, 86_400, "After so long without a click a view counts as not clicked."),
    "promise_s": Setting(
        900, 10, 86_400, "So long a place in the budget is kept for a view that did not come yet."
    ),
}  # fmt: skip


class Market:
    """The state of a marketplace."""

    def __init__(self, seed: int, *, is_random: bool, settings: dict[str, float]) -> None:  # noqa: PLR0915
        self.seed = seed
        self.is_random = is_random
        self.settings = {name: settings.get(name, each.value) for name, each in SETTINGS.items()}
        self.asked_fields = Fields("request")
        self.ad_fields = Fields("ad")
        self.groups = Groups()
        self.caps = FrequencyCaps()
        self.learned = Learned(int(self.settings["table_bits"]))
        self.viewers = Viewers()
        self.classes = Classes()
        self.work: Slices | None = None
        """What is done in slices between requests."""
        self.viewers.row_of("", 0.0)  # nobody: what is thought of a stranger
        self.records = Records()
        self.snapshots = Snapshots()
        self.calibration = Calibration()
        self.traffic = Traffic()
        self.talks = Waiting(0.3)
        self.leads = Waiting(0.2)
        self.spam = Waiting(0.2)
        self.now = 0
        self.stepped_at = 0
        self.daily_at = 0
        self.relearned_at = 0
        self.clicks_then = 0
        self.requests = 0
        self.first_asked = 0
        self.click_wait = self.settings["click_wait_s"]
        self.promise_wait = self.settings["promise_s"]
        self.views_seen = 0.0
        self.views_lost = 0.0
        self.asked_before = np.zeros(0)
        self.seen: set[int] = set()
        self.seen_order: deque[tuple[int, int]] = deque()
        self.asked: dict[str, tuple[str, bytes]] = {}
        self.talk_of: dict[tuple[int, int], str] = {}
        self.lead_of: dict[tuple[int, int], str] = {}
        self.happened: list[tuple[int, Shown]] | None = None
        """What happened of impressions: the head that foretold it, or SEEN; None where nobody counts it."""
        self.rates = np.zeros(8)
        self.usual = np.array(FIRST_USUAL)
        self.clicks = 0.0
        """Clicks lately, …"""
        self.farm_clicks = 0.0
        """… and how many of them farms made, as far as that is known."""
        self.numbers = np.zeros(SETTING_COLUMNS)
        self.numbers[S_SPAM_POWER] = self.settings["spam_power"]
        self.numbers[S_BAD_WEIGHT] = self.settings["bad_weight"]
        self.numbers[S_TEMPERATURE] = self.settings["temperature"]
        self.numbers[S_EXPLORE] = self.settings["explore"]
        self.numbers[S_FLOOR_VARIANCE] = self.settings["floor_variance"]
        self.numbers[S_RANDOM] = float(is_random)
        self.numbers[S_FARM_PRIOR] = FIRST_PRIOR
        self.hashes = np.zeros(MOST_CONTEXT, np.uint64)
        self.values = np.zeros(MOST_CONTEXT)
        self.kinds = np.zeros(MOST_CONTEXT, np.int64)
        self.base = np.zeros(8)
        self.between = np.zeros((2, BETWEEN), np.uint64)
        self.chosen = np.zeros(BETWEEN, np.uint64)
        self.outcome = np.zeros(OUTCOME)

    def note(self, what: int, shown: Shown) -> None:
        """Remember that something happened of an impression, for who counts it."""
        if self.happened is not None:
            self.happened.append((what, shown))

    def identity(self) -> list[object]:
        """What must be the same for a saved state to go on."""
        return [self.seed, self.is_random, [list(each) for each in sorted(self.settings.items())]]
