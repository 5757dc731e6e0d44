"""Making a report of an ad account: whom it speaks of, the facts of their ads, and its file."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

from contatto.accounts import store as accounts
from contatto.accounts.model import AdAccount, BusinessId
from contatto.ads import store as ads
from contatto.ads.model import Ad, AdGroup, Campaign, Page, Status, Wanted
from contatto.kit import errors
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.ids import new_id, new_number
from contatto.kit.log import logger, where
from contatto.kit.table_export import csv_lines
from contatto.measurement.model import Goal
from contatto.reports import store
from contatto.reports.model import Level, Report, ReportRow, ReportTask, Span, Subject, TaskStatus
from contatto.reports.registry import ENGINE, METRICS
from contatto.reports.rules.answers import ordered_rows, show_row
from contatto.reports.rules.filters import matching
from contatto.reports.rules.queries import Asked, Question, check_metrics, conditions_of, question_of
from contatto.reports.rules.rows import build_report

MOST_AT_ONCE: Final = 5
KEEP_FILES: Final = timedelta(days=30)
_NO_PAGES: Final = Page(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class _Tree:
    """The wanted part of an ad account."""

    campaigns: dict[str, Campaign]
    ad_groups: dict[str, AdGroup]
    ads: list[Ad]


def ad_group_report(
    tx: Tx, business_id: str, ad_account: AdAccount, span: Span, level: Level = Level.AD_GROUP
) -> Report:
    """The report in which conversions follow the goal of each ad group (R47, R52 to R56)."""
    if ad_account.business_id != business_id:
        raise ValueError("the ad account is of another business")
    return make_report(tx, ad_account, Question(span, level))


def make_report(tx: Tx, ad_account: AdAccount, question: Question) -> Report:
    """The answer to a question about an ad account; days are days of its zone."""
    tree = _load_tree(tx, ad_account, question.wanted)
    facts = ENGINE.list_facts(tx, ad_account.business_id, ad_account.id, question.span, question.step)
    subjects = _subjects(ad_account, tree, question.level)
    owners = {ad.id: _owner(ad, question.level) for ad in tree.ads}
    report = build_report(subjects, facts, owners, question.step)
    return _with_reach(tx, ad_account, question, report) if question.with_reach else report


def _with_reach(tx: Tx, ad_account: AdAccount, question: Question, report: Report) -> Report:
    by = (question.level, question.step)
    reach = ENGINE.list_reach(tx, ad_account.business_id, ad_account.id, question.span, by)
    rows = [
        replace(row, figures=replace(row.figures, reach=reach.get((row.subject.key, row.day or ""), 0)))
        for row in report.rows
    ]
    return Report(tuple(rows), report.total)


def _load_tree(tx: Tx, ad_account: AdAccount, wanted: Wanted) -> _Tree:
    mine = (ad_account.business_id, ad_account.id)
    campaigns = ads.list_campaigns(tx, *mine, wanted, _NO_PAGES)
    groups = ads.list_ad_groups(tx, *mine, wanted, _NO_PAGES)
    under = ads.list_ads(tx, *mine, wanted, _NO_PAGES)
    return _Tree({one.id: one for one in campaigns}, {one.id: one for one in groups}, under)


def _owner(ad: Ad, level: Level) -> str:
    owners = {
        Level.AD_ACCOUNT: ad.ad_account_id,
        Level.CAMPAIGN: ad.campaign_id,
        Level.AD_GROUP: ad.ad_group_id,
        Level.AD: ad.id,
    }
    return owners[level]


def _subjects(ad_account: AdAccount, tree: _Tree, level: Level) -> list[Subject]:
    if level is Level.AD_ACCOUNT:
        goals = frozenset(group.goal for group in tree.ad_groups.values())
        return [Subject(ad_account.id, level, ad_account.name, goals)]
    if level is Level.CAMPAIGN:
        goals_of = _goals_by_campaign(tree.ad_groups.values())
        return [_campaign(one, goals_of[one.id]) for one in tree.campaigns.values()]
    if level is Level.AD_GROUP:
        return [_ad_group(one, tree.campaigns[one.campaign_id]) for one in tree.ad_groups.values()]
    return [_ad(one, tree.ad_groups[one.ad_group_id], tree.campaigns[one.campaign_id]) for one in tree.ads]


def _goals_by_campaign(groups: Iterable[AdGroup]) -> defaultdict[str, frozenset[Goal]]:
    goals: defaultdict[str, frozenset[Goal]] = defaultdict(frozenset)
    for group in groups:
        goals[group.campaign_id] |= {group.goal}
    return goals


def _campaign(campaign: Campaign, goals: frozenset[Goal]) -> Subject:
    return Subject(
        campaign.id,
        Level.CAMPAIGN,
        campaign.name,
        goals,
        deleted=campaign.status is Status.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
    )


def _ad_group(group: AdGroup, campaign: Campaign) -> Subject:
    return Subject(
        group.id,
        Level.AD_GROUP,
        group.name,
        frozenset({group.goal}),
        deleted=group.status is Status.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        ad_group_number=group.number,
        ad_group_name=group.name,
    )


def _ad(ad: Ad, group: AdGroup, campaign: Campaign) -> Subject:
    return Subject(
        ad.id,
        Level.AD,
        ad.name,
        frozenset({group.goal}),
        deleted=ad.status is Status.DELETED,
        campaign_number=campaign.number,
        campaign_name=campaign.name,
        ad_group_number=group.number,
        ad_group_name=group.name,
        ad_number=ad.number,
    )


def queue_report(tx: Tx, ad_account: AdAccount, asked: Asked, file_name: str) -> ReportTask:
    """Have a report made into a file in the background.

    Raises:
        Refused: INVALID, when it cannot be answered.
    """
    question_of(asked)
    check_metrics(asked, METRICS)
    matching([], conditions_of(asked), METRICS)
    task = ReportTask(
        id=new_id(),
        business_id=ad_account.business_id,
        number=new_number(),
        ad_account_id=ad_account.id,
        question=asked.model_dump_json(),
        file_name=file_name.strip() or "report",
        status=TaskStatus.QUEUING,
        message="",
        created_at=tx.now,
    )
    store.save_report_task(tx, task)
    return task


def answer_report(tx: Tx, ad_account: AdAccount, asked: Asked) -> list[ReportRow]:
    """The rows that a request asks for, filtered and in its order.

    Raises:
        Refused: INVALID.
    """
    check_metrics(asked, METRICS)
    report = make_report(tx, ad_account, question_of(asked))
    return ordered_rows(matching(report.rows, conditions_of(asked), METRICS), asked, METRICS)


def finish_reports(tx: Tx) -> int:
    """Make the files of reports that wait; say how many. A report that cannot be made says why."""
    waiting = store.list_waiting_tasks(tx, MOST_AT_ONCE)
    for task in waiting:
        try:
            with tx.connection.begin_nested():
                store.mark_task(tx, task, TaskStatus.SUCCESS, content=_make_file(tx, task))
        except Exception as error:  # one bad report must not hold up the others
            logger().warning("report.failed", task_id=task.id, error_at=where(error))
            store.mark_task(tx, task, TaskStatus.FAILED, "The report could not be made; ask for it again.")
    return len(waiting)


def _make_file(tx: Tx, task: ReportTask) -> str:
    asked = Asked.model_validate_json(task.question)
    account = accounts.find_ad_account(tx, BusinessId(task.business_id), task.ad_account_id)
    if account is None:
        raise Refused(errors.NO_ADVERTISER)
    names = (*asked.dimensions, *asked.metrics)
    rows = [show_row(row, account, asked, METRICS) for row in answer_report(tx, account, asked)]
    lines = [[(row["dimensions"] | row["metrics"])[name] for name in names] for row in rows]
    return b"".join(csv_lines([names, *lines])).decode()


def cancel_report(tx: Tx, task: ReportTask) -> None:
    """Cancel a report that is not made yet.

    Raises:
        Refused: TASK_ENDED.
    """
    if task.status is not TaskStatus.QUEUING:
        raise Refused(errors.TASK_ENDED, f"task_id: the task is {task.status.value}.")
    store.mark_task(tx, task, TaskStatus.CANCELED)


def forget_reports(tx: Tx) -> int:
    """Delete files that were kept long enough; say how many."""
    return store.delete_old_tasks(tx, tx.now - KEEP_FILES)
