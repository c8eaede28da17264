"""A small federation on paper: homes, requests and an invitation, on made-up patients."""

from __future__ import annotations

import csv
import random
import shutil
from dataclasses import dataclass
from pathlib import Path

from fedethics.deployment.settings import FederationHome
from fedethics.enrolment import files
from fedethics.enrolment.approval import approve
from fedethics.enrolment.homes import IDENTITY, NODE_KEY, found_coordinator, found_site
from fedethics.enrolment.joining import Proposal, install, propose
from fedethics.enrolment.papers import make_invitation, make_request, public_half
from fedethics.identity import Identity, fingerprint
from fedethics.site.home import SiteHome

ROOT = Path(__file__).resolve().parents[2]
SITES = ("alpha", "beta", "gamma")
ADDRESS = "127.0.0.1:9443"


def write_patients(path: Path, *, rows: int = 120, seed: int = 1) -> None:
    """Write a table with the columns of the demo's charter; nobody in it exists."""
    draw = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = "age sex cp exang oldpeak thalch chol trestbps fbs restecg num"
        writer.writerow(names.split())
        for _ in range(rows):
            writer.writerow(
                [
                    draw.randint(30, 79),
                    draw.choice(["Male", "Female"]),
                    draw.choice(["asymptomatic", "non-anginal"]),
                    draw.choice(["TRUE", "FALSE"]),
                    round(draw.uniform(0, 4), 1),
                    draw.randint(80, 190),
                    draw.randint(150, 320),
                    draw.randint(100, 180),
                    draw.choice(["TRUE", "FALSE"]),
                    "normal",
                    draw.choice(["0", "1"]),
                ]
            )


@dataclass(frozen=True)
class Day:
    """Homes of one coordinator and three sites under one directory."""

    path: Path

    @property
    def coordinator(self) -> Path:
        return self.path / "coordinator"

    @property
    def fingerprint(self) -> str:
        """What the coordinator reads out."""
        return fingerprint(self.key.public_key)

    @property
    def key(self) -> Identity:
        return Identity.load(self.coordinator / IDENTITY)

    def home(self, site: str) -> SiteHome:
        return SiteHome.open(self.path / site)

    def request(self, home_of: str, **changes: object) -> bytes:
        home = self.path / home_of
        content = {
            "site": home_of,
            "node_key": public_half((home / NODE_KEY).read_bytes()),
            "declared_records": 100,
        }
        return make_request(Identity.load(home / IDENTITY), **(content | changes))

    def invitation(self, *, key: Identity | None = None) -> bytes:
        approved = approve(self.coordinator, [])
        ca = FederationHome.open(self.coordinator).tls("ca").read_text()
        return make_invitation(key or self.key, charter=approved.charter, superlink=ADDRESS, ca=ca)

    def propose(self, site: str, paper: bytes | None = None, **changes: str) -> Proposal:
        said = changes.get("said", self.fingerprint)
        return propose(self.home(site), paper or self.invitation(), said=said)

    def join(self, site: str) -> Proposal:
        proposal = self.propose(site)
        install(self.home(site), proposal)
        return proposal

    def edit_policy(self, site: str, old: str, new: str) -> None:
        path = self.path / site / "policy.toml"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def copy(self, path: Path) -> Day:
        """Return the same day in another directory, modes and keys included."""
        shutil.copytree(self.path, path, symlinks=True)
        return Day(path)


def found_day(path: Path, *, draft: Path = ROOT / "configs" / "heart.charter.toml") -> Day:
    """Make the homes; nobody is approved yet."""
    day = Day(path)
    path.mkdir(parents=True, exist_ok=True)
    write_patients(path / "patients.csv")
    found_coordinator(day.coordinator, draft=draft, listen=ADDRESS, address=ADDRESS)
    for site in SITES:
        found_site(path / site, site=site, data="../patients.csv")
        # Few records, and a run of epsilon 3 with room for a round done again.
        for old, new in (("records = 50", "records = 5"), ("per-run = 3.0", "per-run = 4.0")):
            day.edit_policy(site, old, new)
    return day


def approved_day(path: Path) -> Day:
    """Make the homes and approve all three sites."""
    day = found_day(path)
    approve(day.coordinator, [day.request(site) for site in SITES])
    return day


def everything(home: Path) -> dict[str, bytes]:
    """Return every file of a home by name, to see that nothing changed."""
    return {
        str(path.relative_to(home)): files.read(path)
        for path in sorted(home.rglob("*"))
        if path.is_file()
    }
