"""The sites of one run: who they are, how to reach them, and who stopped answering.

A site is known by the signature on its announcement, never by its node id or anything that Flower
says of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from fedethics.errors import FedethicsError, RunError
from fedethics.protocol import Action, Reply, Request
from fedethics.secagg import CoordinatorSecagg
from server.events import EventLog
from server.exchange import Exchange

Payloads = Mapping[str, bytes]


@dataclass
class Federation:
    """The enrolled sites, reached through one exchange."""

    exchange: Exchange
    coordinator: CoordinatorSecagg
    charter_hash: str
    run: str
    events: EventLog
    _node_of: dict[str, int] = field(default_factory=dict)

    @property
    def sites(self) -> tuple[str, ...]:
        """The sites that take part, in the roster's spelling and sorted."""
        return tuple(sorted(self._node_of))

    def enrol(self, *, epoch: str, minimum: int, expected: int) -> None:
        """Ask every node to announce its site, relay all keys, and wait for all acknowledgements.

        Raises:
            RunError: fewer sites than the minimum cohort are willing; no record was touched.
        """
        request = self._request(Action.ANNOUNCE, {"epoch": epoch.encode("utf-8")})
        replies = self.exchange.ask(dict.fromkeys(self.exchange.nodes(), request))
        for node, reply in replies.items():
            site = self._taken(
                reply, "announcement", self.coordinator.add_announcement, f"node {node}"
            )
            if site is not None:
                self._node_of[site] = node
        if len(self._node_of) < minimum:
            raise RunError(
                f"{len(self._node_of)} of {expected} sites are willing"
                f"{': ' + ', '.join(self.sites) if self._node_of else ''}; the minimum cohort is "
                f"{minimum}, so no record was touched. Each unwilling site has the reasons in its "
                "own log (log.jsonl in its home; in a simulation, under sites/ of the run)"
            )
        roster = self.coordinator.roster_message()
        self.leg(
            Action.JOIN,
            {key: {"roster": roster} for key in self.sites},
            "acknowledgement",
            self.coordinator.add_acknowledgement,
        )
        joined = self.coordinator.joined_messages()
        if joined:
            told = {site: {"joined": message} for site, message in joined.items()}
            self.leg(Action.COMPLETE, told, "", lambda _: "")

    def leg(
        self,
        action: Action,
        payloads: Mapping[str, Payloads],
        wanted: str,
        take: Callable[[bytes], str],
    ) -> tuple[str, ...]:
        """Ask each site of `payloads`, hand what it answers to `take`, and return who answered.

        Args:
            action: what is asked.
            payloads: what each site is sent.
            wanted: name of the payload that the answer must carry.
            take: verifies one answer and returns the name of the site that signed it.
        """
        requests = {
            self._node_of[site]: self._request(action, content)
            for site, content in payloads.items()
        }
        site_of = {self._node_of[site]: site for site in payloads}
        answered = [
            site_of[node]
            for node, reply in self.exchange.ask(requests).items()
            if self._taken(reply, wanted, take, site_of[node]) is not None
        ]
        return tuple(answered)

    def _request(self, action: Action, payloads: Payloads) -> Request:
        return Request(
            action=action, charter_hash=self.charter_hash, run=self.run, payloads=payloads
        )

    def _taken(
        self, reply: Reply, wanted: str, take: Callable[[bytes], str], who: str
    ) -> str | None:
        if reply.refusal is not None:
            self.events.write(
                "refused", site=who, code=reply.refusal.code, sentence=reply.refusal.sentence
            )
            return None
        try:
            return take(reply.payloads.get(wanted, b""))
        except FedethicsError as error:
            self.events.write("rejected", site=who, code=error.code, sentence=str(error))
            return None
