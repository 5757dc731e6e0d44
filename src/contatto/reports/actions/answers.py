"""Making a report of an ad account: whom it speaks of, the facts of their ads, and its file."""

from dataclasses import replace

from contatto.accounts.model import AdAccount
from contatto.kit.db.tx import Tx
from contatto.reports.actions.subjects import load_tree, subjects_of
from contatto.reports.engines.counted import find_unreadable, list_counted_facts
from contatto.reports.engines.placed import list_placed_facts
from contatto.reports.model import Fact, ReachBy, Report, ReportRow, Span, TimeStep
from contatto.reports.registry import ENGINE, METRICS
from contatto.reports.rules.answers import ordered_rows
from contatto.reports.rules.filters import matching
from contatto.reports.rules.queries import (
    EVERYTHING,
    ReportBody,
    ReportQuestion,
    check_metrics,
    conditions_of,
    question_of,
)
from contatto.reports.rules.rows import build_report, total_of


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
    if not question.with_reach:
        return report
    ad_ids = None if question.wanted == EVERYTHING else frozenset(ad.id for ad in tree.ads)
    by = ReachBy(question.level, question.step, question.by_country, ad_ids)
    return with_reach(tx, ad_account, report, question.span, by)


def _read(tx: Tx, mine: tuple[str, str], question: ReportQuestion) -> list[Fact]:
    if question.step is TimeStep.HOUR:
        return ENGINE.list_facts(tx, *mine, question.span, question.step)
    broken = find_unreadable(tx, *mine, question.span)
    if broken is not None:
        raise broken
    return list_counted_facts(tx, *mine, question.span, question.step, by_country=question.by_country)


def with_reach(tx: Tx, ad_account: AdAccount, report: Report, span: Span, by: ReachBy) -> Report:
    """Add to each row of a report, and to its total, the number of persons who saw the ads."""
    reach = ENGINE.list_reach(tx, ad_account.business_id, ad_account.id, span, by)

    def reached(row: ReportRow) -> ReportRow:
        count = reach.rows.get((row.subject.key, row.day or "", row.country), 0)
        return replace(row, figures=replace(row.figures, reach=count))

    return Report(tuple(map(reached, report.rows)), replace(report.total, reach=reach.total))


def answer_report(tx: Tx, ad_account: AdAccount, asked: ReportBody) -> Report:
    """Make the report that a request asks for: rows filtered and in its order, and their total.

    Without some of the rows nobody knows how many persons the others reached together.

    Raises:
        Refused: INVALID.
    """
    check_metrics(asked, METRICS)
    report = make_report(tx, ad_account, question_of(asked))
    rows = matching(report.rows, conditions_of(asked), METRICS)
    total = report.total if len(rows) == len(report.rows) else total_of(rows)
    return Report(tuple(ordered_rows(rows, asked, METRICS)), total)
