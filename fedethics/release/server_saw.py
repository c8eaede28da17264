"""What the coordinator sees of a run: a fact of the protocol, and no claim of any coordinator.

The list is a claim of fedethics that sites can check against the protocol. It is printed from here,
not from the evidence: what only a coordinator writes must not say what it did not see.
"""

from __future__ import annotations

SERVER_SAW = (
    "each site's announcement and acknowledgement: its name, one-time public keys, nonces and (in "
    "suite 3) ciphertexts for other members, its signature",
    "for each sum: encrypted shares between sites, commitments (hashes) and signatures",
    "for each sum: one masked vector a site, uniformly random to whoever lacks the masks",
    "shares that open the sum over the survivors, and nothing else",
    "for each sum: which slices of it each site asked to check, and its signed word that the sum "
    "passed",
    "the opened sums: the weighted update with every site's noise in it, and the noised counts, of "
    "held-out records and, where the charter steers training between groups or asks for a "
    "membership audit, of training records; "
    "where the charter asks for explanations, noised sums of score changes of held-out records too",
    "which sites answered, refused (as a code) or fell silent, and when",
    "a signed receipt a site: epsilon spent on this run, rounds charged, whether its self-test "
    "passed, whether noise was fixed for tests, session, sites and hash of each sum that it "
    "helped to open and whether it passed its check, and its ledger's "
    "length and newest hash; which sites countersigned the list of all receipts",
    "what the charter makes public: declared records, terms and keys",
)
