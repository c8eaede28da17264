"""The ServerApp of a coordinator in the wrong hands; tests put it into a bundle as server/app.py.

The honest one lies beside it there, as server/honest.py. The file `mode` of the coordinator's home
says what it does, and what came of it is written to `MODE.json` there:

attack    raw messages, before any job was begun: odd, unknown, too large, garbage
noisy     the honest job, but each message is sent twice and replies come late, doubled and out of
          order; everything sent is kept; it dies before the last sum
replay    everything that was kept is sent again in a new Flower run, and what was opened once is
          asked for again with the coordinator's true key, under fresh masks
"""

from __future__ import annotations

import base64
import dataclasses
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flwr.app import Context, Error, Message
from flwr.serverapp import Grid, ServerApp

from fedethics import charter_sums
from fedethics.aggregates.schedule import sum_specs
from fedethics.charter import document
from fedethics.flower.wire import parse_reply, parse_request, request_message
from fedethics.identity import Identity
from fedethics.protocol import Action, Request
from fedethics.secagg import CoordinatorSecagg, framing
from fedethics.secagg.framing import Kind

app = ServerApp()
WAIT_S = 120.0
PROPER = "a proper announcement"
# What a Flower app may say about itself, and what a site must not care about.
SETTINGS = {"epsilon": 1e9, "noise-multiplier": 0.0, "site-home": "/", "charter": "/tmp/c.json"}
Kept = list[dict[str, Any]]


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Do what the file `mode` says."""
    home = Path(str(context.run_config["coordinator-home"]))
    mode = (home / "mode").read_text()
    todo = {"attack": attack, "noisy": noisy, "replay": replay}[mode]
    found: Any = {}
    try:
        found = todo(grid, context, home)
    finally:
        (home / f"{mode}.json").write_text(json.dumps(found))


def attack(grid: Grid, _context: Context, home: Path) -> dict[str, Any]:
    """Send each raw message to one of the nodes; return what it answered."""
    from server.hostile_messages import crafted, spoilt

    charter = document.hash_of(document.load(home / "charter.json"))
    asked = Hostile(grid, charter).ask(Action.ANNOUNCE, grid.get_node_ids(), {"epoch": b"run/0"})
    found = {PROPER: asked}
    nodes, messages = sorted(grid.get_node_ids()), {**crafted(charter), **spoilt(charter)}
    sent = [
        Message(content(), nodes[place % len(nodes)], kind, ttl=WAIT_S)
        for place, (kind, content) in enumerate(messages.values())
    ]
    return found | dict(zip(messages, answers(grid, sent), strict=True))


def answers(grid: Grid, sent: Sequence[Message]) -> list[Any]:
    """Push messages at once; return for each a refusal's code, the payloads, or "silent"."""
    ids = list(grid.push_messages(sent))
    place = {key: number for number, key in enumerate(ids) if key}
    found: list[Any] = ["silent"] * len(sent)
    deadline = time.monotonic() + WAIT_S
    while place and time.monotonic() < deadline:
        for message in grid.pull_messages(list(place)):
            number = place.pop(message.metadata.reply_to_message_id, None)
            if number is not None:
                found[number] = told(message)
        time.sleep(0.05)
    return found


def told(message: Message) -> Any:
    reply = parse_reply(message)
    if reply.refusal is not None:
        return reply.refusal.code
    return {name: base64.b64encode(data).decode() for name, data in reply.payloads.items()}


class Restless:
    """Flower's grid as a bad network would have it: doubled, late and out of order."""

    def __init__(self, grid: Grid, kept: Path) -> None:
        self._grid, self._kept = grid, kept
        self._past: list[Message] = []
        self._held: list[Message] = []
        self._twins: dict[str, str] = {}
        self._first: dict[str, Any] = {}
        self._confirms: dict[str, Message] = {}
        self.found = {"doubled": 0, "differing": [], "late": 0}

    def get_node_ids(self) -> Iterable[int]:
        return self._grid.get_node_ids()

    def push_messages(self, messages: Iterable[Message]) -> list[str]:
        """Send each message and its twin; the twins' answers are compared and go no further."""
        sent = list(messages)
        if opening_of(sent[0]).get("round") == 2:
            raise RuntimeError("the coordinator dies here")
        self._keep(sent)
        first = list(self._grid.push_messages(sent))
        twins = self._grid.push_messages([twin(message) for message in reversed(sent)])
        self._twins |= dict(zip(twins, reversed(first), strict=True))
        if sent[0].metadata.message_type == Action.SURVIVORS and not self.found["late"]:
            self._confirms = {first[0]: sent[0]}  # this reply comes after it was given up
        return first

    def pull_messages(self, ids: Iterable[str]) -> list[Message]:
        self._compare()
        new = list(self._grid.pull_messages(list(ids)))
        for message in new:
            self._first.setdefault(message.metadata.reply_to_message_id, told(message))
        late, self._held = self._held, []
        self.found["late"] += len(late)
        self._held = [m for m in new if name(m) in self._confirms]
        gone = [given_up(m, self._confirms.pop(name(m))) for m in self._held]
        self._past += [m for m in new if m not in self._held] + gone
        return [*reversed(self._past[-8:]), *self._past[:2], *late]

    def finish(self) -> None:
        """Wait for the twins that are still out."""
        deadline = time.monotonic() + WAIT_S
        while self._twins and time.monotonic() < deadline:
            self._compare()
            time.sleep(0.1)
        self.found["unanswered"] = len(self._twins)

    def _compare(self) -> None:
        for message in self._grid.pull_messages(list(self._twins)) if self._twins else ():
            first = self._first.get(self._twins[message.metadata.reply_to_message_id])
            if first is None:  # it overtook the first one; it is compared the other way round
                self._first[self._twins[message.metadata.reply_to_message_id]] = told(message)
            elif told(message) != first:
                self.found["differing"].append(message.metadata.message_type)
            self.found["doubled"] += 1
            del self._twins[message.metadata.reply_to_message_id]

    def _keep(self, sent: Iterable[Message]) -> None:
        with self._kept.open("a") as file:
            for message in sent:
                asked = parse_request(message)
                payloads = {k: base64.b64encode(v).decode() for k, v in asked.payloads.items()}
                line = {"node": message.metadata.dst_node_id, "action": asked.action}
                file.write(json.dumps(line | {"run": asked.run, "payloads": payloads}) + "\n")


def name(reply: Message) -> str:
    return reply.metadata.reply_to_message_id


def given_up(reply: Message, sent: Message) -> Message:
    """Return what Flower puts in the place of a reply that it no longer expects."""
    error = Message(Error(code=5, reason="no reply in time"), reply_to=sent)
    error.metadata.__dict__["_reply_to_message_id"] = name(reply)
    return error


def twin(message: Message) -> Message:
    to = message.metadata
    return Message(message.content, to.dst_node_id, to.message_type, ttl=WAIT_S)


def opening_of(message: Message) -> dict[str, Any]:
    """Return what the OPEN in a message says; nothing if there is none."""
    opened = parse_request(message).payloads.get("open")
    if opened is None:
        return {}
    return dict(framing.decode(opened, kind=Kind.OPEN, max_body_bytes=0).header)


def noisy(grid: Grid, context: Context, home: Path) -> dict[str, Any]:
    """Run the honest job over a bad network, until it dies."""
    from server import honest

    _forget_settings(context)
    restless = Restless(grid, home / "sent.jsonl")
    try:
        honest.app(restless, context)  # type: ignore[arg-type]
    except RuntimeError as death:
        restless.finish()
        return {**restless.found, "death": str(death)}
    return restless.found


def _forget_settings(context: Context) -> None:
    for name in SETTINGS:  # which the honest app would refuse; the sites have been sent them
        context.run_config.pop(name)


def replay(grid: Grid, context: Context, home: Path) -> dict[str, Any]:
    """Send again what was sent before, then ask again for what was opened."""
    from fedethics.coordinator.job import Job, RunSettings

    _forget_settings(context)
    job = Job.open(RunSettings.from_run_config(context.run_config))
    epoch = f"run/{job.state.epochs}"
    job.begin_epoch()  # as any run of this coordinator does, so that the honest one uses the next
    digest = document.hash_of(document.load(home / "charter.json"))
    everything = [json.loads(line) for line in (home / "sent.jsonl").read_text().splitlines()]
    some = sorted({one["node"] for one in everything})[:2]
    kept = [one for one in everything if one["node"] in some]
    told_all = answers(grid, [again(one, digest) for one in kept])
    repeated = [
        {"action": one["action"], "answer": answer}
        for one, answer in zip(kept, told_all, strict=True)
    ]
    return {"again": repeated, **asked_afresh(grid, home, kept, epoch)}


def again(one: dict[str, Any], charter: str) -> Message:
    payloads = {name: base64.b64decode(data) for name, data in one["payloads"].items()}
    request = Request(
        action=Action(one["action"]), charter_hash=charter, run=one["run"], payloads=payloads
    )
    return request_message(request, node_id=one["node"], ttl_s=WAIT_S, group="replay")


def asked_afresh(grid: Grid, home: Path, kept: Kept, epoch: str) -> dict[str, Any]:
    """With the true key of the coordinator: a new epoch, and in it the rounds that were opened."""
    charter = document.load(home / "charter.json")
    terms = charter_sums.secagg_terms(charter, charter_hash=document.hash_of(charter))
    identity = Identity.load(home / "identity.key")
    hostile = Hostile(grid, terms.charter_hash)
    nodes = list(grid.get_node_ids())
    announced = hostile.ask(Action.ANNOUNCE, nodes, {"epoch": epoch.encode()})
    bundles = [base64.b64decode(answer["announcement"]) for answer in announced.values()]

    mallory = Identity.generate()
    forged = dataclasses.replace(terms, coordinator_key=mallory.public_key)
    false = CoordinatorSecagg(identity=mallory, terms=forged)
    true = CoordinatorSecagg(identity=identity, terms=terms)
    for bundle in bundles:
        false.add_announcement(bundle)
        true.add_announcement(bundle)
    wrong = hostile.ask(Action.JOIN, nodes, {"roster": false.roster_message()})
    found: dict[str, Any] = {"roster by a wrong key": wrong}
    joined = hostile.ask(Action.JOIN, nodes, {"roster": true.roster_message()})
    for answer in joined.values():
        true.add_acknowledgement(base64.b64decode(answer["acknowledgement"]))
    trained = next(one for one in kept if one["action"] == Action.TRAIN)
    adapter = base64.b64decode(trained["payloads"]["adapter"])
    opened = base64.b64decode(trained["payloads"]["open"])
    model = framing.decode(opened, kind=Kind.OPEN, max_body_bytes=0).header["model_hash"]
    sites, specs = charter.site_names, sum_specs(charter, vector_length=len(adapter) // 4)
    openings = {
        "an opened round, fresh masks": (charter_sums.UPDATE, 1, sites),
        "an opened round, one site fewer": (charter_sums.UPDATE, 1, sites[:-1]),
        "a round that the charter does not have": (charter_sums.UPDATE, 3, sites),
        "opened counts, fresh masks": (charter_sums.PROGRESS, 1, sites),
        "counts of fewer sites": (charter_sums.FAIRNESS, 2, sites[:-1]),
    }
    for name, (task, number, cohort) in openings.items():
        try:
            session = true.open(
                spec=specs[task], round_number=number, model_hash=model, cohort=cohort
            )
        except Exception as error:  # the coordinator's own library may refuse; that is no test
            found[name] = {"0": f"{type(error).__name__}: {error}"}
            continue
        work = {"open": session.open_message, "adapter": adapter}
        action = Action.TRAIN if task == charter_sums.UPDATE else Action.EVALUATE
        found[name] = hostile.ask(action, nodes, work)
        garbled = session.open_message[:-1] + bytes([session.open_message[-1] ^ 1])
        found[f"{name}, a wrong signature"] = hostile.ask(
            action, nodes[:1], work | {"open": garbled}
        )
    return found


@dataclasses.dataclass(frozen=True)
class Hostile:
    """Asks in the name of the run."""

    grid: Grid
    charter_hash: str

    def ask(
        self, action: Action, nodes: Iterable[int], payloads: Mapping[str, bytes]
    ) -> dict[int, Any]:
        request = Request(
            action=action, charter_hash=self.charter_hash, run="run", payloads=payloads
        )
        asked = list(nodes)
        sent = [
            request_message(request, node_id=node, ttl_s=WAIT_S, group="hostile") for node in asked
        ]
        return dict(zip(asked, answers(self.grid, sent), strict=True))
