"""The instant form of the world, and who fills it in with what."""

import random
from dataclasses import dataclass
from typing import Any, Final

from contatto.channels.model import Platform
from contatto.forms import actions as forms
from contatto.forms.model import FormVersion
from contatto.forms.rules.drafts import change_content, edit_content
from contatto.kit.db.tx import Tx
from contatto.simulator.contacts import email
from contatto.simulator.people import HOME, Line, Visitor

P_FORM: Final = 0.6
"""How many of those who share a contact detail on our own page fill in the form too."""
_CHANGES: Final = (
    "add:choice",
    "up:q4",
    "up:q4",
    "up:q4",
    "add_option:q4",
    "add:number",
    "add_consent",
    "add_consent",
)
_TYPED: Final = {
    "w:headline": ["Get a quote for your kitchen"],
    "w:intro": ["A few short questions. We answer here, within a day."],
    "w:benefits": ["Free measuring at home\nA price within 24 hours\nNo obligation"],
    "w:submit": ["Ask for my quote"],
    "w:q4.label": ["What do you need?"],
    "w:q4.option.a": ["A new kitchen"],
    "w:q4.option.b": ["New doors only"],
    "w:q4.option.c": ["I am just looking"],
    "q:q4:sent": ["1"],
    "q:q4:required": ["1"],
    "q:q4:a:score": ["10"],
    "q:q4:b:score": ["5"],
    "q:q3:sent": ["1"],
    "q:q3:country": [HOME[Platform.WEBCHAT]],
    "w:q5.label": ["How many metres of wall?"],
    "q:q5:sent": ["1"],
    "q:q5:low": ["1"],
    "q:q5:high": ["30"],
    "q:q5:show": ["q4=a"],
    "w:c1.text": ["I agree that Harbour Kitchens contacts me about this quote."],
    "c:c1:sent": ["1"],
    "c:c1:required": ["1"],
    "w:c2.text": ["Send me ideas and offers now and then."],
    "w:thanks_text": ["We write to you here with a first price soon."],
}


@dataclass(frozen=True, slots=True)
class Paper:
    """What one person writes into the form, and the contact details that this tells."""

    answers: dict[str, Any]
    consents: tuple[str, ...]
    contacts: tuple[str, ...]


def publish_quote_form(tx: Tx, business_id: str, channel_account_id: str) -> FormVersion:
    """Make the world's form as a member would, publish it, and show it in the chats of an account."""
    form = forms.create_form(tx, business_id, "Kitchen quote", country=HOME[Platform.WEBCHAT])
    content = form.draft
    for change in _CHANGES:
        content = change_content(content, change)
    form = forms.save_draft(tx, form, edit_content(content, _TYPED, "en"), form.revision, "simulator")
    version = forms.publish_form(tx, business_id, form.id, form.revision, "Owner")
    forms.set_default_form(tx, business_id, channel_account_id, form.id)
    return version


def plan_paper(visitor: Visitor, lines: tuple[Line, ...]) -> Paper | None:
    """What a person fills in; the same person always the same, and most people nothing."""
    rng = random.Random(f"form of {visitor.viewer_id}")
    numbers = [line.contact for line in lines if line.contact.startswith("+")]
    if visitor.platform is not Platform.WEBCHAT or not numbers or rng.random() >= P_FORM:
        return None
    address = email(rng, visitor.handle)
    need = rng.choice(("a", "a", "b"))
    answers = {
        "q1": visitor.handle.replace("_", " ").replace(".", " ").title(),
        "q2": address.shown,
        "q3": numbers[0],
        "q3.country": visitor.country,
        "q4": need,
        "q5": str(rng.randint(2, 9)) if need == "a" else "",
    }
    news = ("c2",) if rng.random() < 0.4 else ()
    return Paper(answers, ("c1", *news), (address.value, numbers[0]))
