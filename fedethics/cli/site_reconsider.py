"""`fedethics site reconsider`: let a site decide anew whether its records go with its charter."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from fedethics.charter import document
from fedethics.cli.output import AsJson, Terminal, answer
from fedethics.cli.questions import Home, Yes, agreed
from fedethics.errors import RunError
from fedethics.site.home import SiteHome
from fedethics.site.journal import Journal
from fedethics.site.log import SiteLog
from fedethics.site.under_way import refused_since


def reconsider(home: Home, yes: Yes = False, as_json: AsJson = False) -> None:
    """Let this site decide anew whether its records go with its charter.

    A site that found that they do not keeps to that answer, so that nobody learns of a change by
    asking again. Use this once the records are mended.
    """
    site = SiteHome.open(home)
    since = refused_since(site)
    if not since:
        raise RunError(
            f"{site.path} keeps no such answer to the charter that it holds; nothing was changed"
        )
    if not as_json:
        told = (
            f"On {since} the records did not go with the charter. If they do now, the coordinator "
            "learns that they were changed."
        )
        _say(Terminal(), told)
    agreed("Decide anew when the coordinator asks next?", yes=yes)
    charter_hash = document.hash_of(document.load(site.charter_path))
    SiteLog(site.path / "log.jsonl").write("reconsidered", charter=charter_hash, since=since)
    Journal(site.path / "journal.db").drop_refusal(charter_hash=charter_hash)
    line = "done. See first what the site would answer: fedethics site check --home " + str(home)
    found = {"charter-hash": charter_hash, "refused-since": since}
    answer(found, lambda console: _say(console, line), as_json=as_json)


def _say(console: Console, line: str) -> None:
    console.print(Text(line), soft_wrap=True)
