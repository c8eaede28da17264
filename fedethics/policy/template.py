"""The commented policy file that `fedethics policy init` writes and officers edit.

`configs/policy.example.toml` is this text with its defaults (a test holds them equal).
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from fedethics.aggregates.registry import AGGREGATES
from fedethics.policy.model import ANY

_TEXT = """\
# What this site allows. The privacy officer owns this file; the site obeys it and nothing else.
# Nothing that arrives over the network can change it. If it is absent, unreadable or has an
# unknown key, the site refuses all work. Check it with: fedethics policy check policy.toml

version = 1

# What one data set may spend. Training records and held-out records are disjoint and have an
# account each. All epsilons are composed (PLD), never added up, for one unit that is added or
# removed, at `delta` below. Epsilon 1 bounds a membership attacker who accepts 1 % false alarms
# to 2.7 % hits; epsilon 3 to 20 %; epsilon 8 to nearly all.
[caps]
epsilon-per-data-set = {per_data_set}   # over its whole life, all runs together
epsilon-per-run = {per_run}        # within one run
epsilon-per-year = {per_year}       # within any 365 days
delta = {delta}                # the largest a charter may ask for; must be below 1/records

[allow]
# Hashes of the charters this site agreed to (fedethics charter show FILE), or "any".
charters = [{charters}]
units = [{units}]
# "local": this site's own noise protects its records, even if all others are dishonest.
# "distributed": protection of the fairness tables depends on the other honest sites' noise too.
training-trust-modes = [{training_trust_modes}]
evaluation-trust-modes = ["local", "distributed"]
{kinds}
releases = [{releases}]
without-dp = {without_dp}     # true lets a charter train or count without noise: epsilon infinite
fixed-noise = {fixed_noise}    # true lets noise come from a seed: for tests on public data only
# A data file that changed (a row, a column): "link" gives it accounts of its own, on which all
# that was spent on the earlier files counts, since the same people may be in it; "refuse" does not
# use it; "other-people" states that nobody in it is in the earlier files, and starts from zero.
changed-data = "link"
# true refuses a charter unless every stakeholder, site and coordinator that it names has signed it
# (charter.signatures.json beside charter.json; see: fedethics charter verify charter.json).
require-signed-charter = false

[minimum]
noise-multiplier = {noise_multiplier} # std over sensitivity of every single mechanism
cohort = {cohort}             # sites in any sum that is opened; at least 3
honest-sites = {honest_sites}       # of these, less those that the charter supposes to collude
records = {records}           # records in each of the two partitions

[compute]
device = "cpu"         # or "cuda"; several: also devices = ["cuda:0", "cuda:1"], all of one model
dtype = "float32"      # or "bfloat16": matrix products only; gradients and noise stay as they are
gradients = "opacus"   # each record's gradient from Opacus's hooks; "autograd": from this package's
                       # own layer; "auto": whichever is faster. Each run holds them together first.
checkpointing = false  # true takes less memory and more time
cache = "memory"       # of the frozen layers' output; "disk": in a file without a name, gone with
cache-dir = "/var/tmp" # the process; put this on an encrypted disk
cache-gib = 4.0        # the most for one part of a data set; above it, layers run in every step

# Personal data with a form in free text (docs/data-quality.md), before anything is computed of it:
# found = "refuse" refuses the file; "redact" puts placeholders; "allow" only counts on the site's
# own screen. Without this table nothing is looked for. No text becomes anonymous by it.
# [personal]
# found = "redact"
# kinds = ["mail", "phone", "birth-date"]
# record-number = 'MRN[0-9]{{7}}'   # the form of this site's own record numbers

# Officers who must sign this file before the site obeys it (policy.toml.sig). To sign:
# fedethics policy sign policy.toml --key officer.key
[officers]
public-keys = []
required-signatures = 0
"""


_RELEASES: Final = ("update", "progress", "audit", "fairness", "explanation")
_KINDS: Final = (
    "Kinds of sums that may leave: model updates, progress counts, fairness tables, the histograms "
    'by which the finished adapter is attacked ("audit"), and how much scores and decisions change '
    'without a column or with another group\'s word ("explanation").'
)


def _kinds() -> str:
    """Return the comment on kinds of sums, with those that a site must add by itself."""
    added = [
        f'Add "{each.name}" to let charters {each.opt_in}.'
        for each in AGGREGATES.values()
        if each.opt_in
    ]
    text = " ".join((_KINDS, *added))
    return textwrap.fill(text, 100, initial_indent="# ", subsequent_indent="# ")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def policy_text(
    *,
    charters: Sequence[str] = (ANY,),
    units: Sequence[str] = ("record",),
    training_trust_modes: Sequence[str] = ("local",),
    more_releases: Sequence[str] = (),
    epsilon_per_data_set: float = 8.0,
    epsilon_per_run: float = 3.0,
    epsilon_per_year: float = 8.0,
    delta: float = 1e-4,
    noise_multiplier: float = 0.5,
    cohort: int = 3,
    honest_sites: int = 2,
    records: int = 50,
    without_dp: bool = False,
    fixed_noise: bool = False,
) -> str:
    """Return a policy file with comments; `load_policy` reads it back."""
    return _TEXT.format(
        kinds=_kinds(),
        per_data_set=float(epsilon_per_data_set),
        per_run=float(epsilon_per_run),
        per_year=float(epsilon_per_year),
        delta=float(delta),
        charters=_listed(charters),
        units=_listed(units),
        training_trust_modes=_listed(training_trust_modes),
        releases=_listed(tuple(dict.fromkeys((*_RELEASES, *more_releases)))),
        without_dp=str(without_dp).lower(),
        fixed_noise=str(fixed_noise).lower(),
        noise_multiplier=float(noise_multiplier),
        cohort=cohort,
        honest_sites=honest_sites,
        records=records,
    )
