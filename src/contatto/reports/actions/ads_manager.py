"""What the Ads Manager shows of an ad account: its tree with the figures of the days that are asked for."""

from contatto.accounts.model import AdAccount
from contatto.ads.actions.publishing import load_outline
from contatto.ads.model import NodeFilter, NodeStatus
from contatto.kit.db.tx import Tx
from contatto.reports.actions.subjects import load_tree, subjects_of
from contatto.reports.engines.counted import list_counted_facts
from contatto.reports.model import Figures, Level, Span, TimeStep
from contatto.reports.rules.branches import Branch, grow
from contatto.reports.rules.rows import build_report


def load_branches(tx: Tx, account: AdAccount, span: Span) -> tuple[Branch, ...]:
    """All that is not deleted, newest first, with what was counted for it on these days."""
    return grow(load_outline(tx, account), _load_figures(tx, account, span))


def _load_figures(tx: Tx, account: AdAccount, span: Span) -> dict[str, Figures]:
    """Figures by campaign, ad group and ad, from one reading; what is deleted counts for what is above."""
    tree = load_tree(tx, account, NodeFilter(statuses=frozenset(NodeStatus)))
    mine = (account.business_id, str(account.id))
    facts = tree.wanted(list_counted_facts(tx, *mine, span, TimeStep.WHOLE, by_country=False))
    figures: dict[str, Figures] = {}
    for level in (Level.CAMPAIGN, Level.AD_GROUP, Level.AD):
        report = build_report(subjects_of(account, tree, level), facts, tree.owners(level), TimeStep.WHOLE)
        figures |= {row.subject.key: row.figures for row in report.rows}
    return figures
