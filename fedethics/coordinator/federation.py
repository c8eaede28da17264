"""The sites of one run: how to reach them, and one leg of the protocol with all of them.

A site is known by the signature on its messages, never by its node id or anything that Flower says
of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from fedethics.canonical import Json
from fedethics.coordinator.events import EventLog
from fedethics.coordinator.exchange import WORK, Exchange
from fedethics.coordinator.refusals import UNSOUND
from fedethics.errors import FedethicsError, RunError, SetupError
from fedethics.protocol import Action, Refusal, Reply, Request
from fedethics.secagg import CoordinatorSecagg

Payloads = Mapping[str, bytes]
Take = Callable[[bytes], object]
About = Mapping[str, Json]

_LOOK_S = 1.0
_LONGEST_SENTENCE = 500


def untaken(_data: bytes) -> None:
    """Take an answer without content."""


@dataclass
class Federation:
    """The enrolled sites, reached through one exchange.

    Attributes:
        epoch: the epoch that they joined; absent before the first enrolment.
        refusals: the code of each site's last no, until somebody clears them.
        roster: the sites of the charter: names that a node which refuses may give itself.
        fallen: enrolled sites that gave nothing to the last sum that they were asked for.
    """

    exchange: Exchange
    charter_hash: str
    run: str
    events: EventLog
    epoch: CoordinatorSecagg | None = None
    refusals: dict[str, str] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)
    roster: frozenset[str] = frozenset()
    fallen: set[str] = field(default_factory=set)
    _node_of: dict[str, int] = field(default_factory=dict)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that take part, in the roster's spelling and sorted."""
        return tuple(sorted(self._node_of))

    def strangers(self) -> tuple[int, ...]:
        """Return the nodes that are connected and belong to no enrolled site."""
        known = set(self._node_of.values())
        return tuple(node for node in self.exchange.nodes() if node not in known)

    def away(self) -> tuple[str, ...]:
        """Return the enrolled sites whose nodes are not connected now, sorted."""
        here = set(self.exchange.nodes())
        return tuple(site for site in self.sites if self._node_of[site] not in here)

    def adopt(self, epoch: CoordinatorSecagg, node_of: Mapping[str, int]) -> None:
        """Go on with the members of another epoch."""
        self.epoch, self._node_of = epoch, dict(node_of)
        self.fallen.clear()  # whoever is in a new epoch was asked just now

    def keep(self, sites: Collection[str]) -> None:
        """Go on with these of the enrolled sites."""
        self._node_of = {site: node for site, node in self._node_of.items() if site in sites}

    def await_connected(self, *, enough: int) -> None:
        """Wait until `enough` of the enrolled sites are connected again.

        A site that has lost its connection is waited for as long as one that works, no longer; the
        next legs count a site that does not return as missing.
        """
        deadline, told = time.monotonic() + self.exchange.work_timeout_s, False
        while True:
            away: list[Json] = [*self.away()]
            if len(self._node_of) - len(away) >= enough or time.monotonic() > deadline:
                return
            if not told:
                told = True
                self.events.write("waiting", sites=away, timeout_s=self.exchange.work_timeout_s)
            time.sleep(_LOOK_S)

    def leg(
        self,
        action: Action,
        payloads: Mapping[str, Payloads],
        wanted: str,
        take: Take,
        about: About | None = None,
    ) -> dict[str, bytes]:
        """Ask each site of `payloads` and hand what it answers to `take`.

        Args:
            action: what is asked.
            payloads: what each site is sent.
            wanted: name of the payload that the answer carries.
            take: verifies one answer; what it refuses with a FedethicsError does not count.
            about: aggregate and round, for the log.

        Returns:
            The sites whose answer was taken, with that answer.
        """
        addressed = {self._node_of[site]: (site, content) for site, content in payloads.items()}
        taken = self._leg(action, addressed, wanted, take, about or {})
        answers = {addressed[node][0]: answer for node, answer in taken.items()}
        if action in WORK:
            self.fallen = (self.fallen | payloads.keys()) - answers.keys()
        return answers

    def broadcast(
        self,
        action: Action,
        nodes: Collection[int],
        content: Payloads,
        wanted: str,
        take: Take,
        about: About | None = None,
    ) -> dict[int, bytes]:
        """Ask nodes of which nobody knows yet whose they are; the answers say who signed them."""
        known = {node: site for site, node in self._node_of.items()}
        names = {**self.names, **known}
        addressed = {node: (names.get(node, f"node {node}"), content) for node in nodes}
        return self._leg(action, addressed, wanted, take, about or {})

    def _leg(
        self,
        action: Action,
        addressed: Mapping[int, tuple[str, Payloads]],
        wanted: str,
        take: Take,
        about: About,
    ) -> dict[int, bytes]:
        if not addressed:
            return {}
        name, began = str(action), time.monotonic()
        asked: list[Json] = [who for who, _ in addressed.values()]
        deadline = self.exchange.timeout_s(action)
        self.events.write("leg-started", leg=name, asked=asked, timeout_s=deadline, **about)
        requests = {node: self._request(action, sent) for node, (_, sent) in addressed.items()}
        taken: dict[int, bytes] = {}

        def asked_again(nodes: Collection[int]) -> None:
            silent: list[Json] = [who for node, (who, _) in addressed.items() if node in nodes]
            self.events.write("asked-again", leg=name, sites=silent, **about)

        replies = self.exchange.ask(action, requests, asked_again=asked_again)
        for node, reply in replies.items():
            if self._is_taken(reply, wanted, take, addressed[node][0]):
                taken[node] = reply.payloads.get(wanted, b"")
        self.events.write(
            "leg-ended",
            leg=name,
            answered=[addressed[node][0] for node in taken],
            dropped=[who for node, (who, _) in addressed.items() if node not in taken],
            seconds=round(time.monotonic() - began, 3),
            **about,
        )
        return taken

    def _request(self, action: Action, payloads: Payloads) -> Request:
        return Request(
            action=action, charter_hash=self.charter_hash, run=self.run, payloads=payloads
        )

    def _named(self, refusal: Refusal, who: str) -> str:
        """Return whom to tell a person of: a node that nobody knows may say whose it is.

        By its own word, so nothing rests on it; and it may be none of those that are enrolled.
        """
        free = self.roster - set(self._node_of)
        return refusal.site if who not in self.roster and refusal.site in free else who

    def _is_taken(self, reply: Reply, wanted: str, take: Take, who: str) -> bool:
        if reply.refusal is not None:
            code, sentence = reply.refusal.code, reply.refusal.sentence
            name = self._named(reply.refusal, who)
            self.refusals[name] = code
            self.events.write("refused", site=name, code=code, sentence=sentence)
            return False
        try:
            take(reply.payloads.get(wanted, b""))
        except (RunError, SetupError):  # the coordinator's own trouble, such as a full disk
            raise
        except FedethicsError as error:
            self.refusals[who] = UNSOUND
            self.events.write("rejected", site=who, code=error.code, sentence=_printable(error))
            return False
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            # Nobody lists in how many ways a stranger's bytes may be wrong; a job must outlive all.
            self.refusals[who] = UNSOUND
            name = type(error).__name__
            self.events.write("rejected", site=who, code=FedethicsError.code, sentence=name)
            return False
        return True


def _printable(error: Exception) -> str:
    """Return what is wrong with an answer; it may quote what a stranger chose."""
    text = str(error)[:_LONGEST_SENTENCE]
    return "".join(each if each.isprintable() else "?" for each in text)
