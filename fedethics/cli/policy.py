"""`fedethics policy`: write, check and sign what this site allows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics import ownership, terms
from fedethics.cli.output import AsJson, answer, say_json, table, write_new
from fedethics.commands import suggested
from fedethics.errors import PolicyError
from fedethics.identity import Identity
from fedethics.policy.model import Policy, load_policy, read_policy
from fedethics.policy.signatures import no_officer, sign_policy, signature_path
from fedethics.policy.template import policy_text
from fedethics.term_schema import json_schema
from fedethics.terms import KEY

app = typer.Typer(help="Write, check and sign a site's policy.", no_args_is_help=True)
PolicyPath = Annotated[Path, typer.Argument(metavar="POLICY", help="The site's policy.toml.")]


@app.command()
def init(
    policy: Annotated[Path, typer.Argument(metavar="POLICY")] = Path("policy.toml"),
    charter: Annotated[
        list[str] | None, typer.Option(help="Hash of a charter to allow; repeat for more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented policy to edit. Never overwrites a file."""
    for given in charter or ():
        if not re.fullmatch(KEY, given):
            raise PolicyError(
                f"--charter {given!r} is not a charter's hash: all 64 hex digits are needed, as "
                "`fedethics charter show` prints them. Nothing was written"
            )
    text = policy_text(charters=charter) if charter else policy_text()
    write_new(policy, text, PolicyError)
    answer(
        {"written": str(policy)},
        lambda console: console.print(
            Text(f"wrote {policy}; edit it, then: {suggested('policy', 'check', policy)}")
        ),
        as_json=as_json,
    )


@app.command()
def schema() -> None:
    """Print the JSON Schema of a policy, for editors."""
    say_json(json_schema(Policy, title="fedethics policy"), indent=2)


@app.command()
def check(policy: PolicyPath, as_json: AsJson = False) -> None:
    """Check a policy as the site would and list every problem. Exit code 2 if there is one.

    Problems with the file's owner or folders are only cautions here; a site would refuse them.
    """
    read = load_policy(policy, at_site=False)
    cautions = (*_cautions(read), *(f"{fault}" for fault in ownership.faults(policy)))

    def render(console: Console) -> None:
        rows = _rows(read)
        console.print(table(f"{policy} is valid", ("key", "value"), rows))
        for caution in cautions:
            console.print(Text(f"caution: {caution}", style="yellow"))

    document = {"policy": terms.document(read), "cautions": list(cautions)}
    answer(document, render, as_json=as_json)


@app.command()
def sign(
    policy: PolicyPath,
    key: Annotated[Path, typer.Option(help="The officer's signing key (mode 0600).")],
    leaving: Annotated[
        bool,
        typer.Option(
            help="Sign as an officer whom this policy no longer names: the ledger requires that "
            "the earlier officers sign the change."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Sign the policy as it is, with an officer's key. Exit code 2 for any other key."""
    officer = Identity.load(key)
    named = read_policy(policy, at_site=False, signed=False).policy.officers.public_keys
    why = no_officer(policy, officer.public_key, named)
    if why and not leaving:
        raise PolicyError(
            f"{why}. Nothing was signed. Sign with an officer's key, or add this one to "
            "officers.public-keys; an officer whom this policy removes signs with --leaving"
        )
    count = sign_policy(policy, officer)
    path = signature_path(policy)
    document = {
        "signatures": str(path),
        "signed-by": officer.public_key,
        "listed": count,
        "officer": not why,
    }
    line = f"signed as {officer.public_key[:16]}; {path} lists {count}"
    if why:
        line += f". It counts only where the ledger still names this officer: {why}"
    answer(document, lambda console: console.print(Text(line)), as_json=as_json)


def _rows(policy: Policy) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    document = terms.document(policy)
    for section, content in document.items() if isinstance(document, dict) else ():
        if not isinstance(content, dict):
            rows.append((section, str(content)))
            continue
        for key, value in content.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"{section}.{key}", shown or "none"))
    return rows


def _cautions(policy: Policy) -> tuple[str, ...]:
    found: list[str] = []
    if policy.allow.charters == ("any",):
        found.append('allow.charters = "any": the site accepts charters that no one here has read')
    if policy.allow.without_dp:
        found.append(
            "allow.without-dp: a run may spend an infinite epsilon, which can never be undone"
        )
    if policy.allow.fixed_noise:
        found.append(
            "allow.fixed-noise: the noise may give no protection; never use this with real records"
        )
    found.extend(policy.caps.contradictions())
    if policy.minimum.honest_sites > policy.minimum.cohort:
        found.append(
            f"minimum.honest-sites {policy.minimum.honest_sites} is above minimum.cohort "
            f"{policy.minimum.cohort}, so minimum.cohort has no effect"
        )
    if policy.caps.delta * policy.minimum.records >= 1:
        found.append(
            f"caps.delta {policy.caps.delta:g} is not below 1/minimum.records = "
            f"{1 / policy.minimum.records:.2g}: so few records are refused in any case"
        )
    if policy.caps.epsilon_per_data_set > 10:
        found.append("caps.epsilon-per-data-set above 10 does not limit an attacker in practice")
    if not policy.officers.required_signatures:
        found.append("officers.required-signatures = 0: anyone who can edit the file sets the caps")
    return tuple(found)
