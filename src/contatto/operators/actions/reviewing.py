"""Ads go to the operators that admitted their business, which approve or refuse revision by revision."""

from collections.abc import Callable, Iterator

from contatto.accounts.model import AdAccount, BusinessId
from contatto.accounts.store import list_ad_accounts
from contatto.ads.model import Ad
from contatto.ads.store.live import list_live_ads
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.operators import rules
from contatto.operators.model import Admission, AdReview, Operator, OperatorBalance, ReviewState
from contatto.operators.store import accounts, places, reviews

type Keep = Callable[[Tx], None]


class Sender:
    """Sends what admitted businesses have anew to their operators: ads to be reviewed, and ad accounts."""

    def __init__(self) -> None:
        self._turns: Iterator[Admission] | None = None

    def start_over(self) -> None:
        """Begin a round through the admissions."""
        self._turns = None

    def read_next(self, tx: Tx) -> Keep | None:
        """Look for what is new of the next business; what keeps that comes back, None at the end."""
        if self._turns is None:
            self._turns = iter(places.list_admitted(tx))
        for admission in self._turns:
            ads, balances = _list_new(tx, admission)
            if ads or balances:
                return lambda tx: _keep(tx, ads, balances)
        return None


def send_ads(tx: Tx, admission: Admission) -> None:
    """Send what is new of one business at once; the transaction must act for the business, or for nobody."""
    _keep(tx, *_list_new(tx, admission))


def _keep(tx: Tx, ads: list[AdReview], balances: list[OperatorBalance]) -> None:
    reviews.save_sent_ads(tx, ads)
    accounts.save_balances(tx, balances)


def _list_new(tx: Tx, admission: Admission) -> tuple[list[AdReview], list[OperatorBalance]]:
    sent = reviews.list_sent(tx, admission.operator_id, admission.business_id)
    found = [live.ad for live in list_live_ads(tx, admission.business_id)]
    ads = [_sent(tx, admission, ad) for ad in found if (ad.id, rules.review_digest(ad)) not in sent]
    known = {
        each.ad_account_id: (each.name, each.currency)
        for each in accounts.list_balances_of_business(tx, admission.business_id)
        if each.operator_id == admission.operator_id
    }
    fresh = [
        _balance(admission, account)
        for account in list_ad_accounts(tx, BusinessId(admission.business_id))
        if known.get(account.id) != (account.name, account.currency)
    ]
    return ads, fresh


def _sent(tx: Tx, admission: Admission, ad: Ad) -> AdReview:
    return AdReview(
        admission.operator_id, admission.business_id, ad.id, rules.review_digest(ad), ad.number,
        admission.business_name, ad.name, ad.headline, ad.text, ad.ad_format, ad.call_to_action,
        ad.video_id, ReviewState.PENDING, "", tx.now,
    )  # fmt: skip


def _balance(admission: Admission, account: AdAccount) -> OperatorBalance:
    return OperatorBalance(
        admission.operator_id, admission.business_id, account.id, account.number, account.name,
        account.currency,
    )  # fmt: skip


def decide_review(
    tx: Tx, operator: Operator, ad_id: str, digest: str, wanted: ReviewState, reason: str = ""
) -> AdReview:
    """Approve or refuse a revision of an ad, also one that was decided before; the business reads why.

    Raises:
        Refused: NOT_FOUND; INVALID for a refusal without a reason.
    """
    review = reviews.find_review(tx, operator.business_id, ad_id, digest)
    if review is None:
        raise Refused(errors.NOT_FOUND)
    if wanted is ReviewState.PENDING:
        raise Refused(errors.INVALID, "state: Approve or reject the ad.")
    rules.check_reason(reason, is_needed=wanted is ReviewState.REFUSED)
    reviews.record_review(tx, review, wanted, reason.strip())
    return review
