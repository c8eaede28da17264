"""`fedethics site leave`: a signed notice, no more work, and plain words on what stays."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from fedethics.cli.output import AsJson, Terminal, answer, figure
from fedethics.cli.questions import Home, Yes, agreed
from fedethics.enrolment import files
from fedethics.enrolment.leaving import Leaving, leave, prepare_leaving, write_notice
from fedethics.privacy.ledger.model import epsilon_document
from fedethics.site.home import SiteHome


def leave_federation(
    home: Home,
    output: Annotated[Path, typer.Option("--output", "-o", help="The notice: a new file.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Leave the federation: write a signed notice to send, and answer no request from now on.

    The ledger, the keys and the old charters are kept.
    """
    site = SiteHome.open(home)
    leaving = prepare_leaving(site)
    lines = _what_stays(leaving)
    if not as_json:
        _say(Terminal(), lines)
    agreed("Leave?", yes=yes)
    with files.put_back(output):
        write_notice(output, leaving)
        leave(site)
    document = {
        "notice": str(output),
        "charter-hash": leaving.content.charter_hash,
        "runs": list(leaving.content.runs),
        "stays": [
            {
                "data-set": each.label,
                "epsilon": epsilon_document(each.epsilon),
                "delta": each.delta,
                "training-rounds": each.rounds,
            }
            for each in leaving.stays
        ],
        "meaning": lines,
    }
    done = [
        f"left. Send {output} to the coordinator, and stop the node if it runs.",
        f"{site.ledger_path} is kept: what was spent on these records stays spent, wherever "
        "they are used next. Do not delete it.",
    ]
    answer(document, lambda console: _say(console, done), as_json=as_json)


def _what_stays(leaving: Leaving) -> list[str]:
    if not leaving.stays:
        return ["Nothing was ever computed here under this charter: no model holds anything of it."]
    lines = [
        "What leaving does not undo:",
        f"- {len(leaving.content.runs)} run(s) used this site's records: "
        f"{', '.join(leaving.content.runs)}. Their sums, and every model made of them, keep what "
        "they learned here. It cannot be taken out; no step of this software unlearns.",
    ]
    lines += [
        f"- {each.label} records: what was released about any one of them stays bounded by "
        f"epsilon {figure(each.epsilon)} at delta {each.delta:g}"
        + (f" ({each.rounds} training rounds)." if each.rounds else ".")
        for each in leaving.stays
    ]
    return [*lines, "- Copies of the model that others hold are not recalled by this notice."]


def _say(console: Console, lines: list[str]) -> None:
    for line in lines:
        console.print(Text(line), soft_wrap=True)
