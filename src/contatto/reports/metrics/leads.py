"""Leads whatever the goal is: how many, by which way they came, and what became of them."""

from typing import Final

from contatto.kit.i18n import N_
from contatto.reports.metrics.shares import clicks, cost_per, share_of
from contatto.reports.model import Figures, Metric, Unit


def _all(of: Figures) -> int:
    return of.counts.leads


def _by_form(of: Figures) -> int:
    return of.counts.form_leads


def _by_chat(of: Figures) -> int:
    return of.counts.leads - of.counts.form_leads - of.counts.manual_leads


def _qualified(of: Figures) -> int:
    return of.counts.qualified


def _converted(of: Figures) -> int:
    return of.counts.converted


METRICS: Final = (
    Metric(
        "leads",
        N_("Leads"),
        Unit.COUNT,
        N_("Leads credited to an ad, by the day of the credited click or view."),
        _all,
    ),
    Metric(
        "cost_per_lead",
        N_("Cost per lead"),
        Unit.MICROS,
        N_("Spend per lead."),
        cost_per(_all),
    ),
    Metric(
        "lead_rate",
        N_("Lead rate"),
        Unit.SHARE,
        N_("Leads per conversation."),
        share_of(_all, lambda of: of.counts.conversations),
    ),
    Metric(
        "real_time_leads",
        N_("Real-time leads"),
        Unit.COUNT,
        N_("Leads credited to an ad, by the day they were captured."),
        lambda of: of.counts.rt_leads,
    ),
    Metric(
        "onsite_form",
        N_("Form leads"),
        Unit.COUNT,
        N_("Leads from the instant form, by the day of the credited click or view."),
        _by_form,
    ),
    Metric(
        "onsite_form_rate",
        N_("Form lead rate"),
        Unit.SHARE,
        N_("Form leads per click."),
        share_of(_by_form, clicks),
    ),
    Metric(
        "cost_per_onsite_form",
        N_("Cost per form lead"),
        Unit.MICROS,
        N_("Spend per form lead."),
        cost_per(_by_form),
    ),
    Metric(
        "onsite_total_filtered_out_form_submission",
        N_("Rejected forms"),
        Unit.COUNT,
        N_("Forms rejected after they were saved. Always 0, because spam is refused at once."),
        lambda of: 0,
    ),
    Metric(
        "chat_leads",
        N_("Chat leads"),
        Unit.COUNT,
        N_("Leads with contact details found in the chat."),
        _by_chat,
    ),
    Metric(
        "manual_leads",
        N_("Manual leads"),
        Unit.COUNT,
        N_("Leads marked by a member."),
        lambda of: of.counts.manual_leads,
    ),
    Metric(
        "qualified_leads",
        N_("Qualified leads"),
        Unit.COUNT,
        N_("Leads that are currently qualified or converted, by the day of the credited click or view."),
        _qualified,
    ),
    Metric(
        "cost_per_qualified_lead",
        N_("Cost per qualified lead"),
        Unit.MICROS,
        N_("Spend per qualified lead."),
        cost_per(_qualified),
    ),
    Metric(
        "qualified_rate",
        N_("Qualified rate"),
        Unit.SHARE,
        N_("Share of leads that are qualified."),
        share_of(_qualified, _all),
    ),
    Metric(
        "converted_leads",
        N_("Converted leads"),
        Unit.COUNT,
        N_("Leads that are currently converted, by the day of the credited click or view."),
        _converted,
    ),
    Metric(
        "cost_per_converted_lead",
        N_("Cost per converted lead"),
        Unit.MICROS,
        N_("Spend per converted lead."),
        cost_per(_converted),
    ),
    Metric(
        "converted_rate",
        N_("Converted rate"),
        Unit.SHARE,
        N_("Share of leads that are converted."),
        share_of(_converted, _all),
    ),
)
