"""What the gate of a simulated run will be able to conclude, said before it begins."""

from __future__ import annotations

from fedethics.data.reading import read_records
from fedethics.data.records import split
from fedethics.errors import FedethicsError
from fedethics.foresight import words
from fedethics.foresight.chances import SHORT
from fedethics.foresight.of_charter import counted, foresee
from fedethics.simulation.staging import Stage
from fedethics.site.home import SiteHome


def verdicts(stage: Stage) -> list[str]:
    """Return the short form, from the sizes of the held-out groups in the sites' files.

    A simulation has all files on one machine, so it can count; real sites declare. What cannot be
    foreseen is one sentence, and no error: the run itself is not concerned.
    """
    terms, task = stage.charter.data, stage.charter.model.task
    try:
        held_out = [
            split(read_records(SiteHome.open(home).data, terms, task=task), terms).held_out
            for home in stage.homes.values()
        ]
        found = foresee(stage.charter, counted(stage.charter, held_out), effort=SHORT)
    except FedethicsError as error:
        return [f"Verdicts are not foreseen: {error}"]
    return words.sentences(found)
