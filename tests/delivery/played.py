"""A marketplace that plays lines, and keeps what it decided and what came of it as rows of a log."""

from typing import Any
from uuid import NAMESPACE_OID, uuid5

import msgspec

from contatto.learning.impressions import Impression
from contatto.learning.marketplace import Replica, new_marketplace, repeat_decision
from contatto.learning.model import (
    AnyLine,
    ClickLine,
    ConversationLine,
    LeadLine,
    QualityLine,
    Record,
    RequestLine,
    SpamLine,
    ViewLine,
)
from tests.delivery.logs import Row

Line = dict[str, Any]
decode = msgspec.json.Decoder(AnyLine.__value__).decode
KINDS: dict[type[AnyLine], str] = {
    ViewLine: "view",
    ClickLine: "click",
    ConversationLine: "conversation",
    SpamLine: "spam",
    LeadLine: "lead",
    QualityLine: "quality",
}


class Played:
    """Takes and answers dictionaries as `contatto deliver` does; in there ads are numbers, viewers UUIDs."""

    def __init__(self, seed: int = 7) -> None:
        self.marketplace = new_marketplace(seed)
        self.rows: list[Row] = []
        self._numbers: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def ask(self, said: Line) -> Line | None:
        market = self.marketplace.market
        line = decode(msgspec.json.encode(self._named(said)))
        answer = self.marketplace.take(line)
        if isinstance(line, RequestLine):
            shown = market.records.shown[line.request_id]
            if shown is not None:
                self._append("decision", line, shown, self._decision_of(shown, line))
        elif type(line) in KINDS:
            shown = market.records.shown.get(self._impression_of(line))
            if shown is not None:
                said_of_it = str(getattr(line, "status", ""))
                self._append(KINDS[type(line)], line, shown, {"user_id": "", "said": said_of_it})
        found = None if answer is None else msgspec.to_builtins(answer)
        for name in ("ad_id", "adgroup_id"):
            if found and found.get(name):
                found[name] = self._names[found[name]]
        return found

    def _named(self, said: Line) -> Line:
        line = dict(said)
        for name in ("ad_id", "adgroup_id"):
            if name in line:
                number = self._numbers.setdefault(line[name], str(len(self._numbers) + 1))
                self._names[number] = line[name]
                line[name] = number
        if "viewer_id" in line:
            line["viewer_id"] = str(uuid5(NAMESPACE_OID, line["viewer_id"]))
        return line

    def _impression_of(self, line: AnyLine) -> str:
        if isinstance(line, ViewLine | ClickLine):
            return line.request_id
        market = self.marketplace.market
        assert isinstance(line, ConversationLine | SpamLine | LeadLine | QualityLine)
        who = (
            market.viewers.by_id.get(line.viewer_id, -1),
            market.groups.advertisers.get(line.advertiser_id, -1),
        )
        is_talk = isinstance(line, ConversationLine | SpamLine)
        return (market.talk_of if is_talk else market.lead_of).get(who, "")

    def _append(self, kind: str, line: AnyLine, shown: Impression, more: Row) -> None:
        nonce = int("".join(each for each in shown.request_id if each.isdigit())) + 1
        row = {"business_id": "shop", "seq": len(self.rows) + 1, "kind": kind, "nonce": nonce, "ts": line.ts}
        self.rows.append(row | {"arrived_ts": line.ts} | more)

    def _decision_of(self, shown: Impression, line: RequestLine) -> Row:
        kept, groups = self.marketplace.market.snapshots, self.marketplace.market.groups
        place, count = shown.place, int(kept.counts[shown.place])
        return {
            "user_id": line.viewer_id, "ad": int(groups.ad_ids[shown.ad]), "ad_group": shown.group,
            "model": 1, "propensity": shown.propensity, "price_micros": shown.price, "country": line.country,
            "p": list(shown.p), "raw": list(shown.raw),
            "hashes": kept.hashes[place, :count].view("int64").tolist(),
            "weights": kept.values[place, :count].tolist(), "kinds": kept.kinds[place, :count].tolist(),
            "between": kept.between[place].view("int64").tolist(),
        }  # fmt: skip


def replay_record(business_seed: int, saved: bytes | None, record: Record) -> Record:
    """Repeat a decision from its model and record; the result must equal the record."""
    replica = Replica(business_seed, record.version, saved)
    replica.set_live(record.added)
    return repeat_decision(replica, record)
