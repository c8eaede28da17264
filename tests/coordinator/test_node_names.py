"""Whom an event is about is told by the site's name, also before the site has announced itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedethics.coordinator.events import EventLog, read_events
from fedethics.coordinator.federation import Federation
from fedethics.coordinator.job import RunSettings
from fedethics.errors import RunError
from fedethics.protocol import Action

CONFIG = {"job-dir": "j", "job-id": "heart-1", "coordinator-home": "c"}
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True)


class Silent:
    """An exchange in which nobody answers, even when asked again."""

    def timeout_s(self, action):
        return 1.0

    def ask(self, action, requests, *, asked_again):
        asked_again(list(requests))
        return {}


@pytest.mark.parametrize("names", [{11: "alpha", 12: "beta"}, {11: "alpha"}, {}])
def test_who_is_asked_again_is_told_by_name_where_the_superlink_knows_it(names, tmp_path):
    federation = Federation(Silent(), "c" * 64, "run", EventLog(tmp_path), names=names)
    federation.broadcast(Action.ANNOUNCE, [11, 12], {}, "", lambda _: None)
    (again,) = [each for each in read_events(tmp_path) if each["event"] == "asked-again"]
    assert again["sites"] == [names.get(node, f"node {node}") for node in (11, 12)]


@given(st.dictionaries(st.integers(0, 2**64 - 1), NAMES, max_size=70))
def test_the_names_of_nodes_come_through_the_run_config_as_they_were(names):
    told = ",".join(f"{node}={name}" for node, name in names.items())
    settings = RunSettings.from_run_config(CONFIG | {"node-names": told})
    assert settings.names_of_nodes == names


@pytest.mark.parametrize("told", ["alpha", "1=", "x=alpha", "1=alpha,", "1=al pha", "1=\x1b[2J"])
def test_names_that_are_none_are_refused(told):
    with pytest.raises(RunError, match="node-names"):
        RunSettings.from_run_config(CONFIG | {"node-names": told})
