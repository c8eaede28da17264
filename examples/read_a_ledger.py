"""What each data set of a site has spent, checked offline: `python examples/read_a_ledger.py FILE`.

FILE is a site's ledger.db, for example runs/ID/sites/cleveland/ledger.db. Reading charges nothing.
"""

import sys

import fedethics


def main(path: str) -> None:
    """Verify the ledger's chain and signatures, and print a line for each data set."""
    for spent in fedethics.read_ledger(path):
        print(
            f"{spent.data_set} {spent.fingerprint[:12]}: epsilon {spent.epsilon:.3f} at delta "
            f"{spent.delta:g} for one {spent.unit}, add-or-remove-one, in {spent.charges} charges"
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
