"""Bulk changes, copies, drafts and form edits of ads, with their welcome messages and audiences."""

import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import zip_longest
from typing import Any, Final

import sqlalchemy as sa

from contatto.accounts.actions import NewAdAccount, correct_ad_account
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads import store
from contatto.ads.actions import campaigns as actions
from contatto.ads.model import (
    EVERY_STATUS,
    NODE_CLASSES,
    Ad,
    AdGroup,
    AdNode,
    Audit,
    BidType,
    BudgetMode,
    Campaign,
    Draft,
    Facts,
    NodeFilter,
    NodeKind,
    NodeStatus,
    Place,
    ScheduleType,
    Spent,
    Targeting,
    WelcomeMessage,
)
from contatto.ads.rules import settings, tree
from contatto.ads.store import SpendPort
from contatto.audiences import actions as audiences
from contatto.audiences.model import Audience
from contatto.audiences.rules import source_number
from contatto.audiences.store import list_audiences
from contatto.channels.model import ChannelAccount
from contatto.kit import errors
from contatto.kit.db.tx import Tx, purging, row_of, rows_of
from contatto.kit.errors import Refused, check_found
from contatto.kit.form_fields import Faults, Typist, check_leap, read_amount, typed_amount
from contatto.kit.i18n import N_
from contatto.kit.ids import new_id, new_number
from contatto.kit.values import micros
from contatto.kit.vault import row_key
from contatto.measurement.rules import local_day


def load_node(tx: Tx, business_id: str, place: Place) -> AdNode:
    """Return the node at a place, unless it is deleted. Raises NOT_FOUND."""
    kind, number = place
    node = store.find_node(tx, NODE_CLASSES[kind], business_id, number=number)
    if node is None or node.status is NodeStatus.DELETED:
        raise Refused(errors.NOT_FOUND)
    return node


def edit_node(tx: Tx, business_id: str, place: Place, act: tree.Act, amount: str, typist: Typist) -> None:
    """Apply a bulk change to one row; ``amount`` is a budget or a bid as ``typist`` typed it.

    Raises NOT_FOUND, INVALID, CONFLICT; Leap, when the amount would change more than tenfold.
    """
    tree.check_fits(act, place[0])
    node, (kind, number) = load_node(tx, business_id, place), place
    account = actions.load_ad_account(tx, business_id, node.ad_account_id)
    if act in tree.STATUS_AFTER:
        actions.change_status(tx, account, kind, [number], tree.STATUS_AFTER[act])
        return
    micros = tree.need_amount(act.value, amount, account.currency, typist.words.lang)
    before = None if isinstance(node, Ad) else node.budget_micros
    if act is tree.Act.BID and isinstance(node, AdGroup):
        before = node.bid_micros
    if act is tree.Act.BID:
        actions.update_ad_group(
            tx, account, number, actions.AdGroupChanges(bid_type=BidType.CUSTOM, bid_micros=micros)
        )
    elif kind is NodeKind.AD_GROUP:
        actions.update_ad_group(tx, account, number, actions.AdGroupChanges(budget_micros=micros))
    else:
        actions.update_campaign(tx, account, number, actions.CampaignChanges(budget_micros=micros))
    check_leap(act.value, before, micros, account.currency, typist)  # once all else is right


def copy_node(
    tx: Tx, business_id: str, place: Place, named: Callable[[str], str], *, needs_review: bool = False
) -> AdNode:
    """Copy what stands at a place, beside it, with all under it that is not deleted.

    The copy itself is paused; its children keep their status and schedule, so that one switch starts it all.
    ``named`` makes its name from that of the original. With ``needs_review`` copied ads await the operator.

    Raises NOT_FOUND; NOT_ELIGIBLE or CAPTURE_OFF for a goal that could not be chosen anew.
    """
    item = load_node(tx, business_id, place)
    name = named(item.name)[: settings.LONGEST_NAME].strip()
    first: dict[str, Any] = {"name": name, "status": NodeStatus.PAUSED}
    numbers: dict[str, Any] = {actions.NUMBER_FILTERS[type(item)]: frozenset({item.number})}
    scope = (business_id, item.ad_account_id, NodeFilter(**numbers))
    # Copies, or the parents of the copy, by the id of the original; the oldest first, to keep the order.
    groups, ads = dict[str, AdGroup](), dict[str, Ad]()
    if isinstance(item, Campaign):
        campaign = _save_copy(tx, item, **first)
    else:
        campaign = check_found(store.find_node(tx, Campaign, business_id, id=item.campaign_id))
    if isinstance(item, Ad):
        groups = store.load_nodes(tx, AdGroup, business_id, {item.ad_group_id})
    else:
        for group in reversed(store.list_nodes(tx, AdGroup, *scope)):
            _check_goal(tx, group, group.channel_account_id)
            changes = first if group.id == item.id else {}
            groups[group.id] = _save_copy(tx, group, campaign_id=campaign.id, **changes)
    for ad in reversed(store.list_nodes(tx, Ad, *scope)):
        group = groups[ad.ad_group_id]
        homes = _check_goal(tx, group, ad.channel_account_id)
        changes = {"ad_group_id": group.id, "campaign_id": campaign.id}
        changes |= first if ad.id == item.id else {}
        if needs_review:  # an ad that was rejected is no better as a copy
            changes |= {"audit": Audit.AUDITING, "audit_reason": ""}
        ads[ad.id] = _save_copy(tx, ad, **changes)
        actions.publish_one_ad(tx, ads[ad.id], group, campaign, homes)
    return ads.get(item.id) or groups.get(item.id) or campaign


def _save_copy[T: AdNode](tx: Tx, node: T, **changes: Any) -> T:
    """Save a node with these changes as a new one."""
    copy = replace(node, id=new_id(), number=new_number(), created_at=tx.now, updated_at=tx.now, **changes)
    store.save_node(tx, copy)
    return copy


def _check_goal(tx: Tx, group: AdGroup, channel_account_id: str) -> tuple[AdAccount, ChannelAccount]:
    """Refuse a goal that could not be chosen anew; give the ad account and the channel account."""
    account = actions.load_ad_account(tx, group.business_id, group.ad_account_id)
    channel = actions.find_channel(tx, group.business_id, channel_account_id)
    settings.check_goal(group.goal, actions.load_facts(tx, account, channel, group.countries))
    return account, channel


KEEP_DRAFTS: Final = timedelta(days=30)
PARENTS: Final = {NodeKind.AD_GROUP: NodeKind.CAMPAIGN, NodeKind.AD: NodeKind.AD_GROUP}
"""What a new thing stands in."""

type Owner = tuple[str, str]
"""A business and the member of it who types."""
type Form = tree.CampaignForm | tree.AdGroupForm | tree.AdForm


@dataclass(frozen=True, slots=True)
class OpenDraft:
    """A draft as a list shows it; ``parent_name`` is empty for a campaign."""

    kind: NodeKind
    parent: int
    parent_name: str
    name: str
    saved_at: datetime


def keep_draft(tx: Tx, owner: Owner, place: Place, form: Form) -> Draft:
    """Keep a form as the member typed it, in place of an earlier draft.

    Raises NOT_FOUND, when its parent does not exist (any more).
    """
    check_place(tx, owner, place)
    draft = Draft(*owner, *place, json.dumps(asdict(form)), tx.now)
    row_id = row_key(draft.member_id, draft.kind, draft.parent)
    typed = tx.seal(draft.typed, draft.business_id, "ad_drafts.typed", row_id)
    unique_columns = "business_id", "member_id", "kind", "parent"
    row: dict[str, Any] = row_of(draft) | {"id": new_id(), "typed": typed}
    tx.save(store.ad_drafts, row, unique_columns, changes=("typed", "saved_at"))
    return draft


def check_place(tx: Tx, owner: Owner, place: Place) -> None:
    """Check that the parent of a draft belongs to the business; a campaign has the parent 0."""
    kind, parent = place
    if kind in PARENTS:
        load_node(tx, owner[0], (PARENTS[kind], parent))
    elif parent != 0:
        raise Refused(errors.NOT_FOUND)


def form_of(draft: Draft) -> Any:
    """Return the form that a draft holds; fields that came later have their usual values."""
    pairs: list[tuple[str, str]] = []
    for name, value in json.loads(draft.typed).items():
        pairs += [(name, item) for item in (value if isinstance(value, list) else [value])]
    return tree.read_form(tree.FORMS[draft.kind], pairs)


def list_open_drafts(tx: Tx, owner: Owner) -> list[OpenDraft]:
    """Return a member's drafts, those saved last first; without those of which the place was deleted."""
    own = rows_of(store.ad_drafts, owner[0], member_id=owner[1])
    latest_first = store.ad_drafts.c.saved_at.desc(), store.ad_drafts.c.id
    drafts = tx.list(Draft, sa.select(store.ad_drafts).where(*own).order_by(*latest_first))
    homes: dict[Place, str] = {}
    for kind, parent in {(draft.kind, draft.parent) for draft in drafts if draft.kind in PARENTS}:
        home = store.find_node(tx, NODE_CLASSES[PARENTS[kind]], owner[0], number=parent)
        if home is not None and home.status is not NodeStatus.DELETED:
            homes[kind, parent] = home.name
    return [
        OpenDraft(
            one.kind,
            one.parent,
            homes.get((one.kind, one.parent), ""),
            form_of(one).name.strip(),
            one.saved_at,
        )
        for one in drafts
        if one.kind not in PARENTS or (one.kind, one.parent) in homes
    ]


purge_drafts: Final = purging(store.ad_drafts.c.saved_at, KEEP_DRAFTS)


@dataclass(frozen=True, slots=True)
class NodeEdit:
    """A form that was sent: who typed it, and the change that its writer has seen."""

    form: Any
    typist: Typist
    seen_at: datetime


def shown_form(tx: Tx, account: AdAccount, node: AdNode, lang: str) -> Any:
    """Return the form of a saved node, without audiences that are gone, or a start that has come."""
    if isinstance(node, Campaign):
        return tree.CampaignForm(
            name=node.name, budget=typed_amount(node.budget_micros, account.currency, lang)
        )
    if isinstance(node, Ad):
        return tree.AdForm(node.name, node.headline, node.text, node.page_id, node.auto_message_id)
    audience_numbers = {str(one.number) for one in list_audiences(tx, account.business_id, account.id)}
    typed = tree.typed_ad_group(node, account, lang)
    if node.starts_at <= tx.now:
        typed = replace(typed, starts_on="", starts_time="")
    return replace(
        typed,
        audience_ids=tuple(one for one in typed.audience_ids if one in audience_numbers),
        excluded_audience_ids=tuple(one for one in typed.excluded_audience_ids if one in audience_numbers),
    )


def save_form(tx: Tx, business_id: str, place: Place, edit: NodeEdit, *, needs_review: bool) -> AdNode:
    """Change a node to what its form says; with ``needs_review`` new texts wait for the operator.

    The goal, the kind of budget and the windows of an ad group stay as they are.

    Raises NOT_FOUND, INVALID, NOT_ELIGIBLE, CAPTURE_OFF, CONFLICT.
    """
    before = load_node(tx, business_id, place)
    account = actions.load_ad_account(tx, business_id, before.ad_account_id)
    form, faults, lang = edit.form, Faults(), edit.typist.words.lang
    changed = set()
    for field_name, shown in asdict(shown_form(tx, account, before, lang)).items():
        value = getattr(form, field_name)
        is_same = set(value) == set(shown) if isinstance(value, tuple) else value == shown
        changed |= set() if is_same else {field_name}
    values: dict[str, Any] = {name: getattr(form, name) for name in changed & {"name", "headline", "page_id"}}
    if isinstance(before, Ad):
        faults.read(lambda: tree.need_headline(form), "")
        if "body" in changed:
            values["text"] = form.body
        if "auto_message_id" in changed:
            values["auto_message_id"] = faults.read(lambda: choose_first_message(tx, account, form), None)
        new_ad = actions.AdChanges(seen_at=edit.seen_at, **values)
        return faults.finish(
            lambda: actions.update_ad(tx, account, before.number, new_ad, needs_review=needs_review)
        )
    values |= read_changed_money(account, before, edit, changed, faults)
    if isinstance(before, Campaign):
        new_campaign = actions.CampaignChanges(seen_at=edit.seen_at, **values)
        return faults.finish(lambda: actions.update_campaign(tx, account, before.number, new_campaign))
    if "countries" in changed:
        values["countries"] = settings.normal_countries(form.countries)
    if "pacing" in changed:
        values["pacing"] = faults.read(lambda: tree.read_choice(form, "pacing"), before.pacing)
    times = faults.read(lambda: tree.read_times(form, account.timezone), None)
    if times and before.starts_at > tx.now and changed & {"starts_on", "starts_time"}:
        values["starts_at"] = times[0] or tx.now
    if times and changed & {"ends_on", "ends_time"}:
        values["ends_at"] = times[1]
        values["schedule_type"] = ScheduleType.START_END if times[1] else ScheduleType.FROM_NOW
    if changed & {"frequency", "frequency_schedule"}:  # both left empty end the frequency cap
        cap = faults.read(lambda: settings.cap_of(*tree.read_frequency(form, lang)), before.cap)
        values |= {"frequency": cap.views if cap else 0, "frequency_schedule": cap.days if cap else None}
    targeting = {part: getattr(form, part) for part in Targeting.__dataclass_fields__ if part in changed}
    new_group = actions.AdGroupChanges(targeting=targeting, seen_at=edit.seen_at, **values)
    return faults.finish(lambda: actions.update_ad_group(tx, account, before.number, new_group))


def read_changed_money(
    account: AdAccount, before: Campaign | AdGroup, edit: NodeEdit, changed: set[str], faults: Faults
) -> dict[str, Any]:
    """Read the budget and the bid that were typed anew; each leap needs a confirmation."""
    values: dict[str, Any] = {}
    form, currency, lang = edit.form, account.currency, edit.typist.words.lang
    if before.budget_mode is not BudgetMode.INFINITE and "budget" in changed:
        values["budget_micros"] = faults.read(
            lambda: tree.need_amount("budget", form.budget, currency, lang), None
        )
    if "bid" in changed and isinstance(before, AdGroup):
        bid = faults.read(lambda: read_amount("bid", form.bid, currency, lang), before.bid_micros)
        values |= {"bid_type": BidType.NO_BID if bid is None else BidType.CUSTOM, "bid_micros": bid}
    for name in ("budget", "bid"):
        amount = values.get(f"{name}_micros")
        if amount is not None:
            amount_before = getattr(before, f"{name}_micros")
            faults.read(partial(check_leap, name, amount_before, amount, currency, edit.typist), None)
    return values


def is_counted(tx: Tx, account: AdAccount) -> bool:
    """Report whether an ad account has, or had, a campaign, so that its money and days count."""
    every_status = NodeFilter(statuses=EVERY_STATUS)
    return store.count_nodes(tx, Campaign, account.business_id, account.id, every_status) > 0


def correct_advertiser(tx: Tx, business_id: BusinessId, ad_account_id: str, new: NewAdAccount) -> None:
    """Correct mistyped settings of an ad account.

    Its money is counted in its currency and its days in its zone, so both stay from the first campaign on.

    Raises NO_ADVERTISER; INVALID; CONFLICT, when it is too late for the currency or the zone.
    """
    account = actions.load_ad_account(tx, business_id, ad_account_id)
    is_recounted = (new.currency.strip().upper(), new.timezone) != (account.currency, account.timezone)
    if is_recounted and is_counted(tx, account):
        raise Refused(
            errors.CONFLICT,
            "Currency and time zone cannot change, because this ad account already has campaigns.",
        )
    correct_ad_account(tx, account, new)


def name_ads(tx: Tx, business_id: str, ads: Collection[Ad]) -> dict[int, str]:
    """Return the names of ads of a business by their numbers.

    Equal names get their ad group, or else their number.
    """
    namesakes = store.list_ads(tx, business_id, name=sorted({ad.name for ad in ads}))
    groups = store.load_nodes(tx, AdGroup, business_id, {ad.ad_group_id for ad in namesakes})
    by_group = tree.distinguish_names([(ad.name, groups[ad.ad_group_id].name) for ad in namesakes])
    named = [(name, str(ad.number)) for name, ad in zip(by_group, namesakes, strict=True)]
    names = {ad.number: name for ad, name in zip(namesakes, tree.distinguish_names(named), strict=True)}
    return {ad.number: names[ad.number] for ad in ads}


def load_outline(tx: Tx, account: AdAccount) -> list[tree.Node]:
    """Return all that is not deleted, newest first."""
    scope = (account.business_id, str(account.id), NodeFilter())
    campaigns = {campaign.id: campaign for campaign in store.list_nodes(tx, Campaign, *scope)}
    groups = store.list_nodes(tx, AdGroup, *scope)
    day = local_day(micros(tx.now), account.timezone)
    shared = [name for name, campaign in campaigns.items() if campaign.budget_micros is not None]
    sharing = store.list_ad_group_ids(tx, account.business_id, shared) if shared else {}
    names = {group.id for group in groups}.union(*sharing.values())
    spent = tx.ports[SpendPort].list_spent(tx, account.business_id, names, day)
    of_campaign = {
        campaign_id: settings.add_spent([spent.get(name, Spent()) for name in groups_under])
        for campaign_id, groups_under in sharing.items()
    }
    facts_by_country: dict[tuple[str, tuple[str, ...]], Facts] = {}
    ads_of: defaultdict[str, list[Ad]] = defaultdict(list)
    for ad in store.list_nodes(tx, Ad, *scope):
        ads_of[ad.ad_group_id].append(ad)
    groups_of: defaultdict[str, list[tree.Node]] = defaultdict(list)
    for group in groups:
        key = (group.channel_account_id, group.countries)
        if key not in facts_by_country:
            channel = actions.find_channel(tx, account.business_id, group.channel_account_id)
            facts_by_country[key] = actions.load_facts(tx, account, channel, group.countries)
        if group.campaign_id in campaigns:
            spends = (spent.get(group.id, Spent()), of_campaign.get(group.campaign_id, Spent()))
            campaign = campaigns[group.campaign_id]
            hurdle = tree.ad_group_hurdle(group, campaign, facts_by_country[key], spends, tx.now)
            under = tuple(tree.Node(NodeKind.AD, ad, tree.ad_delivery(ad, hurdle)) for ad in ads_of[group.id])
            state = tree.best_state(under) if hurdle is None else hurdle
            if hurdle is None and state is tree.Delivering.OFF:
                state = tree.Delivering.NO_AD
            groups_of[group.campaign_id].append(tree.Node(NodeKind.AD_GROUP, group, state, under))
    nodes = []
    for campaign in campaigns.values():
        children = tuple(groups_of[campaign.id])
        is_active = campaign.status is NodeStatus.ACTIVE
        state = tree.best_state(children) if is_active else tree.Delivering.OFF
        nodes.append(tree.Node(NodeKind.CAMPAIGN, campaign, state, children))
    return nodes


def create_welcome_message(
    tx: Tx, account: AdAccount, title: str, content: str, questions: Iterable[tuple[str, str]]
) -> WelcomeMessage:
    """Make a welcome message of questions with their answers; it may be used at once. Raises INVALID."""
    content = content.strip()
    pairs = [(question.strip(), answer.strip()) for question, answer in questions]
    texts = [("content", content, settings.LONGEST_CONTENT)]
    for number, (question, answer) in enumerate(pairs):
        texts.append((f"suggested_questions.{number}.question", question, settings.LONGEST_QUESTION))
        texts.append((f"suggested_questions.{number}.answer", answer, settings.LONGEST_ANSWER))
    for place, text, most in texts:
        if not 0 < len(text) <= most:
            problem = N_("%(field)s: use 1 to %(most)s characters.")
            raise Refused(errors.INVALID, problem, field=f"welcome_message.{place}", most=most)
    if not 1 <= len(pairs) <= settings.MOST_QUESTIONS:
        problem, field = (
            N_("%(field)s: enter 1 to %(most)s questions."),
            "welcome_message.suggested_questions",
        )
        raise Refused(errors.INVALID, problem, field=field, most=settings.MOST_QUESTIONS)
    message = WelcomeMessage(
        id=new_id(),
        business_id=account.business_id,
        number=new_number(),
        ad_account_id=account.id,
        title=title.strip(),
        content=content,
        questions=tuple(question for question, _ in pairs),
        answers=tuple(answer for _, answer in pairs),
        created_at=tx.now,
    )
    tx.insert(store.welcome_messages, row_of(message))
    return message


_FIELDS = {"welcome_message.content": "welcome", "welcome_message.suggested_questions": "questions"}


def choose_first_message(tx: Tx, account: AdAccount, form: tree.AdForm) -> str:
    """Return the ``auto_message_id`` that a form chooses; a message that was written in it is made."""
    chosen = form.auto_message_id
    if chosen == tree.NEW_MESSAGE:
        content = form.welcome.strip()
        title = content.splitlines()[0] if content else ""
        pairs = zip_longest(form.questions, form.answers[: len(form.questions)], fillvalue="")
        questions = [(question, answer) for question, answer in pairs if question.strip() or answer.strip()]
        try:
            welcome_message = create_welcome_message(tx, account, title, content, questions)
        except Refused as refused:  # it names a part of the message, not a field of the form
            field = str(refused.values.get("field", ""))
            for part, form_field in _FIELDS.items():
                field = form_field if field.startswith(part) else field
            raise Refused(refused.code, refused.text, **refused.values | {"field": field}) from refused
        return str(welcome_message.number)
    actions.check_message(tx, account, chosen)
    return chosen


@dataclass(frozen=True, slots=True)
class Uses:
    """Ad groups and lookalikes that use an audience."""

    included: list[AdGroup] = field(default_factory=list)
    excluded: list[AdGroup] = field(default_factory=list)
    lookalikes: list[Audience] = field(default_factory=list)


def load_uses(tx: Tx, account: AdAccount) -> dict[int, Uses]:
    """Load the uses of each audience of an ad account by number, without deleted users."""
    audiences = list_audiences(tx, account.business_id, account.id)
    uses = {audience.number: Uses() for audience in audiences}
    by_text = {str(number): use for number, use in uses.items()}
    for group in store.list_nodes(tx, AdGroup, account.business_id, account.id, NodeFilter()):
        for number in set(group.audience_ids) & set(by_text):
            by_text[number].included.append(group)
        for number in set(group.excluded_audience_ids) & set(by_text):
            by_text[number].excluded.append(group)
    for audience in audiences:
        source = uses.get(source_number(audience) or 0)
        if source is not None:
            source.lookalikes.append(audience)
    return uses


def delete_unused_audiences(tx: Tx, account: AdAccount, numbers: Sequence[int]) -> list[str]:
    """Delete audiences, all that are named or none of them, and return their ids.

    One that is in use stays: its ads would reach other people. A lookalike that goes as well is no use.

    Raises NOT_FOUND; IN_USE, with the first one that is used.
    """
    deleted_numbers = set(numbers)
    ids = [audiences.load_audience(tx, account, number).id for number in deleted_numbers]
    uses = load_uses(tx, account)
    for number in sorted(deleted_numbers):
        used = uses[number]
        staying = [lookalike for lookalike in used.lookalikes if lookalike.number not in deleted_numbers]
        if used.included or used.excluded or staying:
            problem = N_("The audience %(number)s is still in use.")
            raise Refused(errors.IN_USE, problem, number=str(number))
    audiences.delete_audiences(tx, account, sorted(deleted_numbers))
    return ids
