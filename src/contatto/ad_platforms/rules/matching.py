"""Which ad elsewhere opened a chat: exactly one of the platform that the chat is on, or none."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from contatto.ad_platforms.model import AdPlatform
from contatto.measurement.model import MeasuredAd


class KnownAds:
    """Ads elsewhere by the numbers that their platforms give them.

    Args:
        ads: those that are known.
        external_ids: the platforms' ids of their accounts, by our ids of these.
    """

    def __init__(self, ads: Iterable[MeasuredAd], external_ids: Mapping[str, str]) -> None:
        self._ads: defaultdict[int, list[MeasuredAd]] = defaultdict(list)
        self._external_ids = external_ids
        for ad in ads:
            self._ads[ad.ad_number].append(ad)

    def find(self, platform: AdPlatform | None, ad_number: int, advertiser: str) -> MeasuredAd | None:
        """The ad of a number; None where there is none, or several and nobody told of which account.

        ``advertiser`` is the platform's id of the ad's account, empty where it was not told.
        """
        fitting = self._of(platform, ad_number)
        if advertiser:
            fitting = [ad for ad in fitting if self._external_ids.get(ad.ad_account_id) == advertiser]
        return fitting[0] if len(fitting) == 1 else None

    def is_ambiguous(self, platform: AdPlatform | None, ad_number: int) -> bool:
        """Whether several accounts of a platform have an ad with this number."""
        return len(self._of(platform, ad_number)) > 1

    def _of(self, platform: AdPlatform | None, ad_number: int) -> list[MeasuredAd]:
        return [ad for ad in self._ads.get(ad_number, ()) if ad.platform == platform]
