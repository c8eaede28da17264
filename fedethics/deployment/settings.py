"""federation.toml: where the coordinator's SuperLink stands and which job it runs.

The coordinator's home:

federation.toml   this file; written by the operator
charter.json      the charter, with its roster
identity.key      the coordinator's signing key, mode 0600
nodes/NAME.pub    each site's node key (ECDSA, OpenSSH); only these nodes are admitted
tls/              certificate of the SuperLink, its key and the authority's certificate
jobs/ID/          what each job leaves behind
superlink/        the SuperLink's database, secret and logs; mode 0700
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from fedethics import address, terms
from fedethics.address import Address
from fedethics.deployment.chain import ServerFiles, first_end
from fedethics.errors import SetupError
from fedethics.terms import term

FILE = "federation.toml"


@dataclass(frozen=True, kw_only=True, slots=True)
class SuperLinkTable:
    """The table `[superlink]`; relative paths are relative to the coordinator's home.

    Attributes:
        listen: host:port that the SuperLink listens on. Its control path has no authentication, so
            keep it on loopback and put the proxy of server/kit before it.
        address: host:port that sites connect to, which is the proxy's; empty when it is `listen`.
        certificate: the SuperLink's certificate (PEM) with `listen`'s host among its names
            (localhost, where it is 0.0.0.0).
        key: the certificate's private key (PEM), mode 0600.
        ca: certificate (PEM) of the authority that signed it.
        proxy_ca: certificate (PEM) of the authority that signed the proxy's certificate, which is
            the one that sites see; empty when it is `ca`.
        shielded: say true only where a firewall or a container network keeps everyone but the proxy
            from `listen`; without it, only loopback is listened on.
    """

    listen: str = term(default="127.0.0.1:9443", check=address.problem)
    address: str = term(default="", check=lambda text: address.problem(text) if text else "")
    certificate: str = term(default="tls/server.crt")
    key: str = term(default="tls/server.key")
    ca: str = term(default="tls/ca.crt")
    proxy_ca: str = term(default="")
    shielded: bool = term(default=False)

    @property
    def listens(self) -> Address:
        """`listen`, read."""
        return Address.parse(self.listen)

    @property
    def dialled(self) -> Address:
        """The address that sites connect to."""
        return Address.parse(self.address or self.listen)

    @property
    def local(self) -> str:
        """host:port that the coordinator's own processes connect to."""
        listens = self.listens
        return str(listens.at("localhost") if listens.is_every_interface else listens)

    @property
    def names_dialled(self) -> dict[str, str]:
        """Each host that must be in the SuperLink's certificate -> who connects to it, in words."""
        own = Address.parse(self.local).host
        sites = {} if self.proxy_ca else {self.dialled.host: "sites connect to"}
        return sites | {own: "the coordinator's own proxy or processes connect to"}

    def problems(self) -> list[str]:
        """Return what is wrong across fields."""
        found = []
        if not (self.shielded or self.listens.is_loopback):
            found.append(
                f"listen: {self.listen} is not on loopback, and anyone who reaches the SuperLink's "
                "control path can start runs; listen on 127.0.0.1 behind the proxy of server/kit, "
                "or set shielded = true if the network keeps everyone else away"
            )
        if self.address and self.dialled.is_every_interface:
            found.append(
                f"address: no site can connect to {self.dialled}; name the host that sites reach"
            )
        return found


@dataclass(frozen=True, kw_only=True, slots=True)
class JobTable:
    """The table `[job]`: what is run next.

    Attributes:
        id: name of the run in every message and ledger; kept when it is resumed.
        model_dir: directory of the base model; empty for the embedded one.
        start_dir: directory of the release whose adapter the charter starts from; empty for none.
        leg_timeout_s: how long to wait for the slowest site in one exchange.
        wait_s: how long to wait for the whole roster to connect before starting with fewer.
        app: folder of the Flower app (pyproject.toml, server, clients); empty for the one that came
            with fedethics.
    """

    id: str = term(pattern=terms.NAME)
    model_dir: str = term(default="")
    start_dir: str = term(default="")
    leg_timeout_s: float = term(default=600.0, above=0)
    wait_s: float = term(default=600.0, at_least=0)
    app: str = term(default="")


@dataclass(frozen=True, kw_only=True, slots=True)
class FederationFile:
    """The whole file."""

    job: JobTable
    superlink: SuperLinkTable = term(default=SuperLinkTable())


@dataclass(frozen=True, slots=True)
class FederationHome:
    """Paths and settings of the coordinator."""

    path: Path
    settings: FederationFile

    @classmethod
    def open(cls, path: Path) -> FederationHome:
        """Read `path`/federation.toml.

        Raises:
            SetupError: missing or malformed; nothing was started.
        """
        path = path.resolve()
        file, problems = path / FILE, list[str]()
        table = terms.load_toml(file, SetupError)
        settings = terms.read(FederationFile, table, path="", problems=problems)
        if problems or settings is None:
            listed = "\n".join(f"  - {problem}" for problem in problems)
            raise SetupError(f"{file} is not valid; nothing was started:\n{listed}")
        return cls(path, settings)

    @property
    def job_dir(self) -> Path:
        """What the current job leaves behind."""
        return self.path / "jobs" / self.settings.job.id

    def of_job(self, job_id: str) -> FederationHome:
        """Return the same home with another job, such as a window of monitoring."""
        job = replace(self.settings.job, id=job_id)
        return replace(self, settings=replace(self.settings, job=job))

    def newest_window(self) -> FederationHome:
        """Return this home with the window that was asked for last; itself before the first."""
        pattern = f"{self.settings.job.id}-w[0-9][0-9][0-9][0-9]"
        windows = sorted(
            self.job_dir.parent.glob(pattern), key=lambda path: (path.stat().st_mtime, path.name)
        )
        return self.of_job(windows[-1].name) if windows else self

    @property
    def state_dir(self) -> Path:
        """The SuperLink's database, secret and logs."""
        return self.path / "superlink"

    @property
    def server_files(self) -> ServerFiles:
        """What the SuperLink shows to everyone who connects."""
        certificate, key, ca = (self.tls(name) for name in ("certificate", "key", "ca"))
        return ServerFiles(certificate=certificate, key=key, ca=ca)

    def first_end(self) -> datetime | None:
        """Return when the first of its certificates ends; None where one cannot be read."""
        return first_end(self.server_files.certificate, self.server_files.ca)

    @property
    def sites_ca(self) -> Path:
        """The authority's certificate that sites must be given."""
        return self.tls("proxy_ca" if self.settings.superlink.proxy_ca else "ca")

    def tls(self, name: str) -> Path:
        """Return the path that `[superlink]` gives for `certificate`, `key`, `ca` or `proxy_ca`."""
        return self.path / str(getattr(self.settings.superlink, name))
