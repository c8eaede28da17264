"""Whole federations of real processes on loopback: homes, certificates, ports, and a clean end."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import psutil
import tomli_w
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from fedethics.charter.ethics_terms import ExplanationTerms
from fedethics.charter.privacy_terms import AuditTerms
from fedethics.deployment.certificates import make_certificates
from fedethics.simulation import staging
from fedethics.simulation.scenario import load
from fedethics.simulation.staging import Stage
from fedethics.storage.lines import Tail
from simulations.datasets import heart
from tests.deployment.namespaces import ADDRESS, Namespaces
from tests.ports import quiet_port

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / ".data" / "heart"
SEED = "7"
_QUICK_CLOCK = Path(__file__).parent / "quick_clock"


def stage(folder: Path, *, rounds: int = 1, copies: int = 1, most: int | None = None) -> Stage:
    """Stage the four hospitals, each `copies` times, with fixed noise: 1 local step a round.

    With `most`, only so many of these sites.
    """
    heart.fetch(DATA)
    scenario, draft = load(ROOT / "configs" / "heart.toml")
    training = dataclasses.replace(draft.training, rounds=rounds, local_steps=1)
    ethics = dataclasses.replace(draft.ethics, explanation=ExplanationTerms())  # for speed
    privacy = dataclasses.replace(draft.privacy, audit=AuditTerms())  # likewise
    draft = dataclasses.replace(draft, training=training, ethics=ethics, privacy=privacy)
    policy = (ROOT / "configs" / "policy.hospital.toml").read_text()
    folder.mkdir(parents=True)
    (folder / "policy.toml").write_text(
        policy.replace("[minimum]", "fixed-noise = true\n[minimum]")
    )
    sites = tuple(
        dataclasses.replace(site, policy="policy.toml", name=f"{site.name}{suffix}")
        for suffix in ("", *(f"-{number}" for number in range(2, copies + 1)))
        for site in scenario.sites
    )
    scenario = dataclasses.replace(scenario, sites=sites[:most], test_noise_seed=SEED)
    return staging.build(scenario, draft, base=folder, data_dir=DATA, run_dir=folder / "run")


@dataclasses.dataclass
class Federation:
    """A coordinator and its sites, as processes of the `fedethics` command."""

    stage: Stage
    port: int
    started: list[subprocess.Popen[bytes]] = dataclasses.field(default_factory=list)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    network: Namespaces | None = None

    @property
    def coordinator(self) -> Path:
        return self.stage.coordinator

    @property
    def job(self) -> Path:
        return self.coordinator / "jobs" / "run"

    def quicken(self) -> Federation:
        """Let Flower count a silent process as dead after seconds, not a minute."""
        ours = [str(_QUICK_CLOCK), os.environ.get("PYTHONPATH", "")]
        self.environment["PYTHONPATH"] = os.pathsep.join(filter(None, ours))
        file = self.coordinator / "federation.toml"
        settings = tomllib.loads(file.read_text())
        settings["job"]["leg-timeout-s"] = 45.0
        file.write_text(tomli_w.dumps(settings))
        return self

    def command(self, *words: str, log: Path, at: str = "") -> subprocess.Popen[bytes]:
        """Start a command of `fedethics` at the coordinator, or `at` a site."""
        enter = () if self.network is None else self.network.enter(at)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*enter, sys.executable, "-P", "-m", "fedethics.cli.main", *words],
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.stage.run_dir,
                env=os.environ | {"OMP_NUM_THREADS": "1"} | self.environment,
            )
        self.started.append(process)
        return process

    def site(self, name: str) -> subprocess.Popen[bytes]:
        home = self.stage.homes[name]
        return self.command("site", "run", "--home", str(home), log=home / "run.out", at=name)

    def sites(self) -> dict[str, subprocess.Popen[bytes]]:
        return {name: self.site(name) for name in self.stage.homes}

    def coordinate(self, verb: str = "start") -> subprocess.Popen[bytes]:
        words = ("federation", verb, "--home", str(self.coordinator))
        return self.command(*words, log=self.coordinator / "run.out")

    def said(self, home: Path) -> str:
        path = home / "run.out"
        return path.read_text() if path.exists() else ""

    def events(self) -> list[dict[str, object]]:
        return Tail(self.job / "events.jsonl").new()

    def log_of(self, site: str) -> list[dict[str, object]]:
        return Tail(self.stage.homes[site] / "log.jsonl").new()

    def until(self, true: Callable[[], object], *, timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s\n{self.told()}"
            time.sleep(0.1)

    def told(self) -> str:
        homes = {"coordinator": self.coordinator, **self.stage.homes}
        return "\n".join(f"--- {name}\n{self.said(home)[-3000:]}" for name, home in homes.items())

    def end(self) -> None:
        """End everything that this federation started, politely and then not."""
        trees = [_tree(process.pid) for process in self.started]
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process in self.started:
            try:
                process.wait(timeout=100)  # a site may take 80 s
            except subprocess.TimeoutExpired:
                process.kill()
        for process in (each for tree in trees for each in tree):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def node_key(home: Path) -> bytes:
    """Write home/node.key and return the public half."""
    key = ec.generate_private_key(ec.SECP384R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    (home / "node.key").write_bytes(private)
    (home / "node.key").chmod(0o600)
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)


def deploy(
    made: Stage,
    *,
    now: datetime | None = None,
    wait_s: float = 120.0,
    leg_timeout_s: float = 120.0,
    network: Namespaces | None = None,
) -> Federation:
    """Give a staged federation certificates, node keys and addresses."""
    host, port = "127.0.0.1" if network is None else ADDRESS, quiet_port()
    tls = made.coordinator / "tls"
    make_certificates(tls, names=[host, "localhost"], now=now)
    settings = {
        # Between namespaces stands no proxy: that is tests/deployment/test_real_proxies.py.
        "superlink": {"listen": f"{host}:{port}", "shielded": network is not None},
        "job": {"id": "run", "leg-timeout-s": leg_timeout_s, "wait-s": wait_s},
    }
    (made.coordinator / "federation.toml").write_text(tomli_w.dumps(settings))
    (made.coordinator / "nodes").mkdir()
    for name, home in made.homes.items():
        (made.coordinator / "nodes" / f"{name}.pub").write_bytes(node_key(home))
        (home / "ca.crt").write_bytes((tls / "ca.crt").read_bytes())
        site = tomllib.loads((home / "site.toml").read_text())
        site["node"] = {"superlink": f"{host}:{port}"}
        (home / "site.toml").write_text(tomli_w.dumps(site))
    return Federation(made, port, network=network)
