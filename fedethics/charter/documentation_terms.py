"""What only people can say for a technical documentation: provider, hardware, oversight, and so on.

Optional, and of no effect on what is computed. Those who sign the charter sign these sentences too.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from fedethics.terms import term


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentationTerms:
    """Answers to items of Annex IV of the EU AI Act that no run can compute; each may be absent.

    Attributes:
        provider: who places the system on the market or puts it into service, under their name.
        hardware: what the system is to run on.
        oversight: which measures let a person understand, overrule and stop it in use.
        label_provenance: how the labels came about: who gave them, from what, by which procedure.
        changes: which changes are foreseen beforehand, and how the system stays as it was judged.
        monitoring: how it is watched after its release, by whom, and what ends its use.
    """

    provider: str | None = term(default=None, nonempty=True, prose=True)
    hardware: str | None = term(default=None, nonempty=True, prose=True)
    oversight: str | None = term(default=None, nonempty=True, prose=True)
    label_provenance: str | None = term(default=None, nonempty=True, prose=True)
    changes: str | None = term(default=None, nonempty=True, prose=True)
    monitoring: str | None = term(default=None, nonempty=True, prose=True)

    def problems(self) -> list[str]:
        """Refuse an empty table, which would change the charter's hash and say nothing."""
        names = [field.name for field in dataclasses.fields(self)]
        if any(getattr(self, name) is not None for name in names):
            return []
        listed = ", ".join(name.replace("_", "-") for name in names)
        return [f"empty; give at least one of {listed}, or leave the table out"]
