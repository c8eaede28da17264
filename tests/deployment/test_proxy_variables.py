"""A whole job with every proxy variable set, and proxies that write down what they are asked.

The sites' proxy may be asked for the coordinator's address only; the coordinator's for nothing.
"""

from __future__ import annotations

import psutil
import pytest

from tests.deployment.deaths import descendants
from tests.deployment.federation import deploy, stage
from tests.deployment.test_private_processes import assert_tells_nothing
from tests.site.coordinator_stub import forward_proxy

NAMES = ("http_proxy", "https_proxy", "all_proxy", "grpc_proxy", "ftp_proxy")
EXCEPTIONS = "localhost,10.0.0.0/8"


def _all_set(port: int) -> dict[str, str]:
    address = f"http://user:geheim@127.0.0.1:{port}"
    found = {spelled: address for name in NAMES for spelled in (name, name.upper())}
    return found | {"no_proxy": EXCEPTIONS, "NO_PROXY": EXCEPTIONS}


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    """Run one job of three sites to its end; return what the proxies and we saw of it."""
    made = stage(tmp_path_factory.mktemp("proxied") / "b", most=3)
    federation = deploy(made, wait_s=90, leg_timeout_s=60)
    with forward_proxy() as (near, asked), forward_proxy() as (nearer, never):
        try:
            federation.environment.update(_all_set(near))
            federation.sites()
            federation.environment.update(_all_set(nearer))
            coordinator = federation.coordinate()
            federation.until(
                lambda: "submitted" in federation.said(federation.coordinator),
                timeout_s=200,
                what="the run was submitted",
            )
            federation.until(
                lambda: any("flower.serverapp" in " ".join(p.cmdline()) for p in _ours(federation)),
                timeout_s=60,
                what="the ServerApp runs",
            )
            secrets = [path.read_bytes() for path in made.run_dir.rglob("superexec.secret")]
            for process in _ours(federation):
                assert_tells_nothing(process, federation.coordinator, *secrets)
            code = coordinator.wait(timeout=240)
        finally:
            federation.end()
        return federation, code, list(asked), list(never)


def _ours(federation) -> list[psutil.Process]:
    return [each for process in federation.started for each in descendants(process.pid)]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_job_ends_well(job):
    federation, code, _, _ = job
    assert code == 0, federation.told()


@pytest.mark.slow
def test_the_sites_proxy_was_asked_for_the_coordinator_only(job):
    federation, _, asked, _ = job
    assert set(asked) == {f"127.0.0.1:{federation.port}"}


@pytest.mark.slow
def test_the_coordinators_proxy_was_asked_for_nothing(job):
    assert job[3] == []
