"""Pushes in storage, on both engines: queued once, claimed by one, settled, sent again, forgotten."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from contatto.integrations.model import DeliveryState
from contatto.kit.db.database import Database
from contatto.kit.db.tx import Tx
from contatto.kit.errors import Refused
from contatto.kit.outbound.model import (
    Done,
    HttpAnswer,
    NotNow,
    OutboundRequest,
    RequestState,
    SendFailure,
    Step,
)
from contatto.kit.outbound.queue import jobs, list_requests_of, purge_jobs
from contatto.subscriptions import actions, store
from contatto.subscriptions.model import Entity, NewSubscription, Push, Subscription
from tests import make
from tests.outbound import answer, claim_all

NEW = NewSubscription(Entity.DIRECT_MESSAGE, "app-1", "secret-1", "https://example.com/push")
OK = HttpAnswer(200, {}, b"")
KIND = actions.PUSH_KINDS[Entity.DIRECT_MESSAGE]


def queued(tx: Tx, business_id: str) -> Subscription:
    made = actions.set_webhook(tx, business_id, NEW)
    actions.queue_push(tx, made, "message-1", f"to {made.app_id}".encode())
    return made


def request_of(tx: Tx, business_id: str) -> OutboundRequest:
    (found,) = list_requests_of(tx, business_id, KIND.name, [str(only(tx, business_id).id)])
    return found


def later(tx: Tx, seconds: float) -> Tx:
    return replace(tx, now=tx.now + timedelta(seconds=seconds))


def only(tx: Tx, business_id: str) -> Push:
    (push,) = store.ledger.list_entries(tx, business_id)
    return push


def test_a_push_is_claimed_once_and_settled_by_its_answer(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        queued(tx, owner)
        (claimed,) = claim_all(tx, KIND)
        request = claimed[1].request
        assert (request.url, request.body) == (NEW.callback_url, b"to app-1")
        assert request.headers["TikTok-Signature"].startswith("t=")
        assert claim_all(tx, KIND) == []
        answer(tx, KIND, claimed, OK)
        assert (only(tx, owner).state, only(tx, owner).reason) == (DeliveryState.SENT, "200")
        assert claim_all(later(tx, 1_000_000), KIND) == []
        answer(tx, KIND, claimed, HttpAnswer(500, {}, b""))
        assert only(tx, owner).state is DeliveryState.SENT

    database.write_now(work)


@pytest.mark.parametrize(
    ("answer", "step"),
    [
        (HttpAnswer(200, {}, b""), Done()),
        (HttpAnswer(204, {}, b""), Done()),
        (HttpAnswer(302, {}, b""), NotNow("302")),
        (HttpAnswer(500, {}, b""), NotNow("500")),
        (HttpAnswer(503, {"retry-after": "7"}, b""), NotNow("503", 7.0)),
    ],
)
def test_any_2xx_takes_a_push_and_all_else_is_tried_again(
    database: Database, answer: HttpAnswer, step: Step
) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        queued(tx, owner)
        assert actions.read_push_answer(tx, request_of(tx, owner), answer) == step

    database.write_now(work)


def test_a_claimer_that_never_came_back_loses_its_push_to_the_next(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        queued(tx, owner)
        assert claim_all(tx, KIND)
        (again,) = claim_all(later(tx, 61), KIND)
        assert again[0].attempts == 2

    database.write_now(work)


def test_after_the_last_try_a_push_is_dead_and_can_be_sent_again(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        subscription = queued(tx, owner)
        at = tx
        while only(tx, owner).state is DeliveryState.DUE:
            at = replace(tx, now=request_of(tx, owner).due_at)
            (claimed,) = claim_all(at, KIND)
            answer(at, KIND, claimed, SendFailure.UNREACHED)
        assert timedelta(hours=70) < at.now - tx.now < timedelta(hours=76)
        assert (only(tx, owner).state, only(tx, owner).reason) == (DeliveryState.DEAD, "unreached")
        actions.replay_push(at, owner, only(tx, owner).id)
        assert claim_all(at, KIND)
        with pytest.raises(Refused, match="on its way"):
            actions.replay_push(at, owner, only(tx, owner).id)
        actions.end_subscription(at, subscription, "unsubscribed")
        assert only(tx, owner).state is DeliveryState.DEAD
        with pytest.raises(Refused, match="ended"):
            actions.replay_push(at, owner, only(tx, owner).id)
        assert actions.purge_pushes(replace(at, now=at.now + actions.RETENTION + timedelta(seconds=1))) == 1
        assert tx.execute(select(jobs)).all() == []

    database.write_now(work)


def test_a_push_whose_request_was_forgotten_can_be_sent_again(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        queued(tx, owner)
        (claimed,) = claim_all(tx, KIND)
        answer(tx, KIND, claimed, OK)
        assert purge_jobs(tx, tx.now + timedelta(seconds=1)) == 1
        actions.replay_push(tx, owner, only(tx, owner).id)
        ((request, ask),) = claim_all(tx, KIND)
        assert (request.subject, ask.request.url) == (str(only(tx, owner).id), NEW.callback_url)

    database.write_now(work)


def test_a_receiver_says_how_long_to_wait_and_a_push_waits_no_less(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        queued(tx, owner)
        (claimed,) = claim_all(tx, KIND)
        answer(tx, KIND, claimed, HttpAnswer(429, {"retry-after": "90"}, b""))
        assert (only(tx, owner).state, only(tx, owner).reason) == (DeliveryState.DUE, "429")
        assert request_of(tx, owner).due_at == tx.now + timedelta(seconds=90)

    database.write_now(work)


def test_a_push_whose_subscription_has_ended_is_not_sent(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner = make.business(tx).id
        actions.end_subscription(tx, queued(tx, owner), "unsubscribed")
        assert claim_all(tx, KIND) == []
        assert (only(tx, owner).state, request_of(tx, owner).state) == (DeliveryState.DEAD, RequestState.DONE)

    database.write_now(work)


def test_a_webhook_of_an_app_has_one_address_and_nothing_of_another_business(database: Database) -> None:
    def work(tx: Tx) -> None:
        owner, other = make.business(tx).id, make.business(tx, "Other").id
        first = queued(tx, owner)
        moved = actions.set_webhook(
            tx, owner, replace(NEW, callback_url="https://example.com/new", secret="s2")
        )
        assert (moved.id, moved.callback_url, moved.secret) == (first.id, "https://example.com/new", "s2")
        assert store.list_subscriptions(tx, other) == []
        assert store.find_subscription(tx, other, first.number) is None
        with pytest.raises(Refused, match="Delivery not found"):
            actions.replay_push(tx, other, only(tx, owner).id)

    database.write_now(work)
