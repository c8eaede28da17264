"""`fedethics explain`: what single predictions depend on, at the site and for the site only."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text

from fedethics import terms
from fedethics.charter.document import load
from fedethics.cli.output import AsJson, answer, say, table
from fedethics.data.file_terms import DataFile
from fedethics.errors import EXIT_BAD_INPUT, RunError
from fedethics.policy.model import load_policy
from fedethics.site.home import SiteHome

# Rows of the table of words.
_SHOWN = 10
_LIMITS = (
    "An effect is how this model's score changes when the phrase is left out of the text. It is "
    "neither a cause in the world nor advice. The model may never have seen a text without the "
    "phrase. If two phrases say the same, each can look unimportant. A swapped word does not "
    "change what is correlated with it in life, so no flip does not mean fair treatment.",
    "This output describes single records: show it only to people who may see them. Nothing was "
    "sent, written or charged.",
)


def explain(
    adapter: Annotated[
        Path, typer.Option(help="Directory with adapter_model.safetensors, as a release has it.")
    ],
    record: Annotated[
        list[int], typer.Option(help="Line of the site's file; the header is line 1. May repeat.")
    ],
    home: Annotated[
        Path | None, typer.Option("--home", help="The site's home: its charter, file and model.")
    ] = None,
    charter: Annotated[
        Path | None, typer.Option("--charter", "-c", help="Without --home: the charter.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Without --home: the CSV file.")
    ] = None,
    model_dir: Annotated[
        Path | None, typer.Option("--model-dir", help="Without --home: the base model's directory.")
    ] = None,
    words: Annotated[
        bool,
        typer.Option("--words", help="Mark words, also where the text is made of columns."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Explain predictions for a few of this site's own records; nothing leaves the machine.

    For each: score and decision, what each column's phrase adds (of free text: each word), what
    another group's word would change, and whether this explanation beats random ones.
    """
    asked = _question(home, charter=charter, data=data, model_dir=model_dir)
    asked |= {"adapter": str(adapter), "lines": record, "words": words}
    agreed = load(Path(asked["charter"]))
    threshold, label = agreed.privacy.evaluation.threshold, agreed.data.labels
    found = [
        one
        if "by_words" in one
        else one | {"decision": label.positive_name if one["positive"] else label.negative_name}
        for one in _answers(asked)
    ]
    document = {"threshold": threshold, "records": found, "limits": list(_LIMITS)}

    def render(console: Console) -> None:
        for one in found:
            _show(console, one, threshold)
        for words in _LIMITS:
            console.print(Text(words))

    answer(document, render, as_json=as_json)


def _question(
    home: Path | None, *, charter: Path | None, data: Path | None, model_dir: Path | None
) -> dict[str, Any]:
    if home is not None and (charter or data or model_dir):
        raise typer.BadParameter("--home already names charter, file and model; give it alone")
    if home is not None:
        site = SiteHome.open(home)
        charter, model_dir = site.charter_path, site.model_dir
        file = site.data.under(load_policy(site.policy_path).personal)
    elif charter is not None and data is not None:
        file = DataFile(data)
    else:
        raise typer.BadParameter("give --home, or --charter and --data")
    return {
        "charter": str(charter),
        "data": file.said,
        "personal": terms.document(file.personal) if file.personal else None,
        "model_dir": str(model_dir) if model_dir else None,
    }


def _answers(asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-P", "-m", "fedethics.site.explain"]
    done = subprocess.run(
        command, input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=False
    )
    for line in done.stdout.splitlines():
        if not line.startswith("{"):
            continue
        said = json.loads(line)
        if "why" in said:
            say(f"fedethics: [{said['code']}] {said['why']}", err=True)
            raise typer.Exit(int(said.get("exit", EXIT_BAD_INPUT)))
        explained = said["record"].pop("explained")
        judged = explained.get("by_words", explained)["faithfulness"]
        judged["better_than_chance"] = said["better_than_chance"]
        yield said["record"] | explained
    if done.returncode:
        raise RunError(
            f"the process that explains ended with {done.returncode}; its message is above"
        )


def _show(console: Console, one: Mapping[str, Any], threshold: float) -> None:
    if "by_words" in one:
        _show_words(console, one)
        return
    side = "at or above" if one["positive"] else "below"
    title = (
        f"Line {one['line']} ({one['part']}): score {one['score']:.3f}, {side} {threshold:g}: "
        f"{one['decision']}"
    )
    effects = sorted(one["effects"], key=lambda effect: -abs(effect["change"]))
    rows = [(e["column"], e["phrase"], f"{e['change']:+.3f}") for e in effects]
    console.print(table(title, ("column", "phrase", "adds to the score"), rows))
    for swap in one["swaps"]:
        verdict = "the decision flips" if swap["flips"] else "the decision stays"
        console.print(
            Text(
                f"{swap['feature']} written as {swap['other']} instead of {swap['own']}: score "
                f"{swap['score']:.3f}, {verdict}."
            )
        )
    console.print(Text(_judged(one["faithfulness"])))


def _show_words(console: Console, one: Mapping[str, Any]) -> None:
    found = one["by_words"]
    effects = sorted(found["effects"], key=lambda effect: -abs(effect["change"]))
    most = max((abs(effect["change"]) for effect in effects), default=0.0)
    console.print(
        Text(f"Line {one['line']} ({one['part']}): score {found['score']:.3f} of {one['answer']}")
    )
    for number, piece in enumerate(found["pieces"]):
        own = [effect for effect in effects if effect["piece"] == number]
        console.print(marked(piece, own, most=most))
    head = ("words", "place", "adds to the score")
    rows = [(e["words"], f"{e['piece'] + 1}:{e['start']}", f"{e['change']:+.3f}") for e in effects]
    console.print(table(f"The {min(len(rows), _SHOWN)} that move it most", head, rows[:_SHOWN]))
    for swap in one["swaps"]:
        verdict = {None: "", True: ", the decision flips", False: ", the decision stays"}
        console.print(
            Text(
                f"Words of {swap['name']} swapped: score {swap['score']:.3f}"
                f"{verdict[swap['flips']]}."
            )
        )
    console.print(Text(_judged(found["faithfulness"])))


def marked(piece: str, effects: Sequence[Mapping[str, Any]], *, most: float) -> Text:
    """Return a piece of a record with the words that move its score marked.

    [+word+] raises the score and [-word-] lowers it, by half as much as the strongest or more; so
    that the marks can be read without colours.
    """
    said, at = Text(), 0
    for effect in sorted(effects, key=lambda one: int(one["start"])):
        said.append(piece[at : effect["start"]])
        words, at = piece[effect["start"] : effect["end"]], effect["end"]
        sign, style = ("+", "bold green") if effect["change"] > 0 else ("-", "bold red")
        if most and abs(effect["change"]) >= most / 2:
            said.append(f"[{sign}{words}{sign}]", style=style)
        else:
            said.append(words)
    said.append(piece[at:])
    return said


def _judged(found: Mapping[str, Any]) -> str:
    verdict = (
        "better than chance"
        if found["better_than_chance"]
        else "not clearly better than chance: do not rely on this order"
    )
    return (
        "Is this order faithful? Leaving out what comes first lowers the model's confidence by "
        f"{found['comprehensiveness']:.3f} on average (random orders: "
        f"{found['random_comprehensiveness']:.3f}, {100 * found['as_comprehensive']:.0f} % of them "
        f"do as well); keeping only them, by {found['sufficiency']:.3f} (random orders: "
        f"{found['random_sufficiency']:.3f}, {100 * found['as_sufficient']:.0f} % do as well): "
        f"{verdict}."
    )
