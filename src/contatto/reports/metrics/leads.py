"""Leads whatever the goal is: how many, by which way they came, and what became of them."""

from typing import Final

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
        "Leads",
        Unit.COUNT,
        "Leads that an ad earned, by chat, form or mark, on the day of the touch. An extension of ours.",
        _all,
    ),
    Metric(
        "cost_per_lead",
        "Cost per lead",
        Unit.MICROS,
        "Spend for each lead. An extension of ours.",
        cost_per(_all),
    ),
    Metric(
        "lead_rate",
        "Lead rate",
        Unit.SHARE,
        "Leads of all conversations. An extension of ours.",
        share_of(_all, lambda of: of.counts.conversations),
    ),
    Metric(
        "real_time_leads",
        "Leads, own day",
        Unit.COUNT,
        "Leads that an ad earned, on the day when they were captured. An extension of ours.",
        lambda of: of.counts.rt_leads,
    ),
    Metric(
        "onsite_form",
        "Leads by form",
        Unit.COUNT,
        "Leads that came by the instant form, on the day of the touch.",
        _by_form,
    ),
    Metric(
        "onsite_form_rate",
        "Form rate",
        Unit.SHARE,
        "Leads by the instant form of all clicks.",
        share_of(_by_form, clicks),
    ),
    Metric(
        "cost_per_onsite_form",
        "Cost per lead by form",
        Unit.MICROS,
        "Spend for each lead by the instant form.",
        cost_per(_by_form),
    ),
    Metric(
        "chat_leads",
        "Leads by chat",
        Unit.COUNT,
        "Leads whose contact details were found in the chat. An extension of ours.",
        _by_chat,
    ),
    Metric(
        "manual_leads",
        "Leads by hand",
        Unit.COUNT,
        "Leads that a person marked by hand. An extension of ours.",
        lambda of: of.counts.manual_leads,
    ),
    Metric(
        "qualified_leads",
        "Qualified leads",
        Unit.COUNT,
        "Leads that are qualified or converted now, on the day of the touch. An extension of ours.",
        _qualified,
    ),
    Metric(
        "cost_per_qualified_lead",
        "Cost per qualified lead",
        Unit.MICROS,
        "Spend for each qualified lead. An extension of ours.",
        cost_per(_qualified),
    ),
    Metric(
        "qualified_rate",
        "Qualified rate",
        Unit.SHARE,
        "Qualified leads of all leads. An extension of ours.",
        share_of(_qualified, _all),
    ),
    Metric(
        "converted_leads",
        "Converted leads",
        Unit.COUNT,
        "Leads that are converted now, on the day of the touch. An extension of ours.",
        _converted,
    ),
    Metric(
        "cost_per_converted_lead",
        "Cost per converted lead",
        Unit.MICROS,
        "Spend for each converted lead. An extension of ours.",
        cost_per(_converted),
    ),
    Metric(
        "converted_rate",
        "Converted rate",
        Unit.SHARE,
        "Converted leads of all leads. An extension of ours.",
        share_of(_converted, _all),
    ),
)
