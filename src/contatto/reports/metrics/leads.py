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
        N_("Leads that an ad earned, by chat, form or mark, on the day of the touch. An extension of ours."),
        _all,
    ),
    Metric(
        "cost_per_lead",
        N_("Cost per lead"),
        Unit.MICROS,
        N_("Spend for each lead. An extension of ours."),
        cost_per(_all),
    ),
    Metric(
        "lead_rate",
        N_("Lead rate"),
        Unit.SHARE,
        N_("Leads of all conversations. An extension of ours."),
        share_of(_all, lambda of: of.counts.conversations),
    ),
    Metric(
        "real_time_leads",
        N_("Leads, own day"),
        Unit.COUNT,
        N_("Leads that an ad earned, on the day when they were captured. An extension of ours."),
        lambda of: of.counts.rt_leads,
    ),
    Metric(
        "onsite_form",
        N_("Leads by form"),
        Unit.COUNT,
        N_("Leads that came by the instant form, on the day of the touch."),
        _by_form,
    ),
    Metric(
        "onsite_form_rate",
        N_("Form rate"),
        Unit.SHARE,
        N_("Leads by the instant form of all clicks."),
        share_of(_by_form, clicks),
    ),
    Metric(
        "cost_per_onsite_form",
        N_("Cost per lead by form"),
        Unit.MICROS,
        N_("Spend for each lead by the instant form."),
        cost_per(_by_form),
    ),
    Metric(
        "onsite_total_filtered_out_form_submission",
        N_("Forms sorted out"),
        Unit.COUNT,
        N_("Forms that were kept and sorted out later: none, since what looks like spam is refused at once."),
        lambda of: 0,
    ),
    Metric(
        "chat_leads",
        N_("Leads by chat"),
        Unit.COUNT,
        N_("Leads whose contact details were found in the chat. An extension of ours."),
        _by_chat,
    ),
    Metric(
        "manual_leads",
        N_("Leads by hand"),
        Unit.COUNT,
        N_("Leads that a person marked by hand. An extension of ours."),
        lambda of: of.counts.manual_leads,
    ),
    Metric(
        "qualified_leads",
        N_("Qualified leads"),
        Unit.COUNT,
        N_("Leads that are qualified or converted now, on the day of the touch. An extension of ours."),
        _qualified,
    ),
    Metric(
        "cost_per_qualified_lead",
        N_("Cost per qualified lead"),
        Unit.MICROS,
        N_("Spend for each qualified lead. An extension of ours."),
        cost_per(_qualified),
    ),
    Metric(
        "qualified_rate",
        N_("Qualified rate"),
        Unit.SHARE,
        N_("Qualified leads of all leads. An extension of ours."),
        share_of(_qualified, _all),
    ),
    Metric(
        "converted_leads",
        N_("Converted leads"),
        Unit.COUNT,
        N_("Leads that are converted now, on the day of the touch. An extension of ours."),
        _converted,
    ),
    Metric(
        "cost_per_converted_lead",
        N_("Cost per converted lead"),
        Unit.MICROS,
        N_("Spend for each converted lead. An extension of ours."),
        cost_per(_converted),
    ),
    Metric(
        "converted_rate",
        N_("Converted rate"),
        Unit.SHARE,
        N_("Converted leads of all leads. An extension of ours."),
        share_of(_converted, _all),
    ),
)
