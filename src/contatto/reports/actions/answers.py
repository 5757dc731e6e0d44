"""Making a report of an ad account: whom it speaks of, the facts of their ads, and its file."""

from dataclasses import replace

from contatto.accounts.model import AdAccount
from contatto.kit.db.tx import Tx
from contatto.reports.actions.subjects import load_tree, subjects_of
from contatto.reports.engines.counted import find_unreadable, list_counted_facts
from contatto.reports.engines.placed import list_placed_facts
from contatto.reports.model import Fact, Report, ReportRow, TimeStep
from contatto.reports.registry import ENGINE, METRICS
from contatto.reports.rules.answers import ordered_rows
from contatto.reports.rules.filters import matching
from contatto.reports.rules.queries import (
    ReportBody,
    ReportQuestion,
    check_metrics,
    conditions_of,
    question_of,
)
from contatto.reports.rules.rows import build_report


def make_report(tx: Tx, ad_account: AdAccount, question: ReportQuestion) -> Report:
    """The answer to a question about an ad account; days are days of its zone."""
    tree = load_tree(tx, ad_account, question.wanted)
    subjects = subjects_of(ad_account, tree, question.level)
    mine = (ad_account.business_id, ad_account.id)
    if question.by_placement:
        placed = list_placed_facts(tx, *mine, question.span)
        owners = tree.owners_of_groups(question.level)
        return build_report(subjects, placed, owners, question.step, by_placement=True)
    facts, owners = tree.wanted(_read(tx, mine, question)), tree.owners(question.level)
    report = build_report(subjects, facts, owners, question.step, by_country=question.by_country)
    return _with_reach(tx, ad_account, question, report) if question.with_reach else report


def _read(tx: Tx, mine: tuple[str, str], question: ReportQuestion) -> list[Fact]:
    if question.step is TimeStep.HOUR:
        return ENGINE.list_facts(tx, *mine, question.span, question.step)
    broken = find_unreadable(tx, *mine, question.span)
    if broken is not None:
        raise broken
    return list_counted_facts(tx, *mine, question.span, question.step, by_country=question.by_country)


def _with_reach(tx: Tx, ad_account: AdAccount, question: ReportQuestion, report: Report) -> Report:
    by = (question.level, question.step)
    reach = ENGINE.list_reach(tx, ad_account.business_id, ad_account.id, question.span, by)
    rows = [
        replace(row, figures=replace(row.figures, reach=reach.get((row.subject.key, row.day or ""), 0)))
        for row in report.rows
    ]
    return Report(tuple(rows), report.total)


def answer_report(tx: Tx, ad_account: AdAccount, asked: ReportBody) -> list[ReportRow]:
    """The rows that a request asks for, filtered and in its order.

    Raises:
        Refused: INVALID.
    """
    check_metrics(asked, METRICS)
    report = make_report(tx, ad_account, question_of(asked))
    return ordered_rows(matching(report.rows, conditions_of(asked), METRICS), asked, METRICS)
