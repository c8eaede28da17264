"""Who is not let in: a node that is not on the roster, and a coordinator with an expired paper."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fedethics.deployment.processes import Child, python
from tests.deployment.federation import node_key

pytestmark = pytest.mark.slow


def test_a_node_whose_key_is_not_on_the_roster_ends_with_a_clear_error(deployed):
    federation = deployed()
    name, home = next(iter(federation.stage.homes.items()))
    node_key(home)  # a key that the coordinator has never seen
    federation.coordinate()
    federation.until(
        lambda: "admitted" in federation.said(federation.coordinator),
        timeout_s=60,
        what="the SuperLink admits the roster",
    )
    site = federation.site(name)
    assert site.wait(timeout=90) == 2
    assert "not on the roster" in federation.said(home)
    assert "Nothing was computed" in federation.said(home)
    assert "online: sites none" in federation.said(federation.coordinator)
    assert not [entry for entry in federation.log_of(name) if entry["event"] == "bundle"]


def test_a_coordinator_whose_certificate_has_expired_does_not_start(deployed):
    federation = deployed(now=datetime(2020, 1, 1, tzinfo=UTC))
    assert federation.coordinate().wait(timeout=120) == 7
    assert "has expired" in federation.said(federation.coordinator)


def test_a_site_does_not_connect_to_a_superlink_whose_certificate_has_expired(deployed):
    federation = deployed(now=datetime(2020, 1, 1, tzinfo=UTC))
    name, home = next(iter(federation.stage.homes.items()))
    tls = federation.coordinator / "tls"
    command = python(
        "fedethics.flower.superlink",
        *("--host", "127.0.0.1", "--port", str(federation.port), "--isolation", "process"),
        *("--ssl-certfile", str(tls / "server.crt"), "--ssl-keyfile", str(tls / "server.key")),
        *("--ssl-ca-certfile", str(tls / "ca.crt"), "--enable-supernode-auth"),
    )
    superlink = Child(
        "superlink", command, federation.coordinator / "x.log", federation.coordinator
    )
    superlink.start()
    try:
        assert federation.site(name).wait(timeout=90) == 2
    finally:
        superlink.stop(grace_s=5)
    assert "certificate has expired" in federation.said(home)
    assert not (home / "node" / "contact").exists()
    events = {e["event"] for e in federation.log_of(name)}
    assert events <= {"executor-started", "preloaded", "ready", "executor-stopped"}


def test_a_second_node_on_the_same_home_is_refused(deployed):
    federation = deployed()
    name, home = next(iter(federation.stage.homes.items()))
    federation.site(name)
    lock = home / "node" / "lock"
    federation.until(lambda: lock.exists() and lock.read_text(), timeout_s=90, what="the lock")
    assert federation.site(name).wait(timeout=90) == 2
    assert "is being run by another process" in federation.said(home)
