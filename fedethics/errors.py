"""Every error that fedethics raises on purpose, each with a code and an exit code.

FedethicsError
├── CharterError        FE101  charter missing, malformed, unsigned, or not the agreed one
├── EnrolmentError      FE111  a request, invitation or home that cannot be used as it is
├── EnrolmentForged     FE112  a signature or fingerprint of an enrolment does not hold
├── PolicyError         FE201  site policy missing, unreadable or malformed
├── PolicyRefusal       FE202  the policy does not allow what was asked; carries every reason
├── RecordsRefusal      FE203  the site's records do not allow it: one code for all such reasons
├── BudgetExceeded      FE301  a mechanism would spend more than a cap allows
├── LedgerError         FE302  ledger unwritable, busy, or in a state that forbids the step
├── LedgerTampered      FE303  ledger bytes do not verify: chain, signature or head
├── AccountingError     FE304  parameters that no accountant can turn into an epsilon
├── DataError           FE401  data file missing, malformed, or not as the schema says
├── ModelError          FE402  model missing, or not the one whose hash was agreed
├── TrainingError       FE501  a DP guard or the start-up self-test failed
├── SecaggReject        FE601  message refused: malformed or out of place; no state changed
├── SecaggAbort         FE602  a lie was caught; the session is over and the lie recorded
├── SumRefuted          FE603  a sum of this run was found false; the site takes no further part
├── SumUntold           FE604  a sum that this site helped to open is not received or not checked
├── AdapterRefused      FE605  an adapter that does not follow from the start and from checked sums
├── EgressError         FE606  an answer that is not on the list of what may leave a site
├── FairnessError       FE701  metric undefined or unknown, or a group not declared
├── ReleaseError        FE801  run directory incomplete, release invalid or withheld
├── ApprovalRefused     FE802  a release that may not be approved, or not by this key
├── RunError            FE901  a run cannot start, continue or finish
└── SetupError          FE902  a package, model or data set could not be got at set-up

Messages say what happened, with which value, what was protected, and what to do. They never hold
record text, per-record values or secrets. Each code has a heading in docs/errors.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

EXIT_OK = 0
EXIT_UNEXPECTED = 1
EXIT_BAD_INPUT = 2
EXIT_GATE_FAILED = 3
EXIT_CANNOT_CONCLUDE = 4
EXIT_REFUSED = 5
EXIT_INTEGRITY = 6
EXIT_ENVIRONMENT = 7
EXIT_AWAITING_PEOPLE = 8
EXIT_RELEASED_UNCERTAIN = 9
EXIT_NOT_CHECKED = 10
EXIT_WITHDRAWN = 11
EXIT_DRIFTED = 12


class FedethicsError(Exception):
    """Base of every error raised on purpose; `code` and `exit_code` are stable."""

    code: ClassVar[str] = "FE000"
    exit_code: ClassVar[int] = EXIT_UNEXPECTED


class CharterError(FedethicsError, ValueError):
    """The charter is missing, malformed, unsigned, or not the one that was agreed."""

    code = "FE101"
    exit_code = EXIT_BAD_INPUT


class EnrolmentError(FedethicsError, ValueError):
    """A request, invitation, notice or home directory cannot be used as it is."""

    code = "FE111"
    exit_code = EXIT_BAD_INPUT


class EnrolmentForged(FedethicsError):
    """A signature or fingerprint of an enrolment does not hold. Nothing was written."""

    code = "FE112"
    exit_code = EXIT_INTEGRITY


class PolicyError(FedethicsError, ValueError):
    """The site policy is missing, unreadable or malformed. The site refuses all work."""

    code = "FE201"
    exit_code = EXIT_BAD_INPUT


class PolicyRefusal(FedethicsError):
    """The site's policy does not allow what the charter asks.

    Attributes:
        reasons: every reason at once, each a full sentence naming the key and both values.
    """

    code = "FE202"
    exit_code = EXIT_REFUSED

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        listed = "\n".join(f"  - {reason}" for reason in self.reasons)
        super().__init__(f"this site refuses, and nothing was computed or sent:\n{listed}")


class RecordsRefusal(PolicyRefusal):
    """What was asked does not fit the site's records; the reasons stay at the site.

    Attributes:
        lasting: the reason lies in the records themselves, so the site keeps its answer to this
            charter until a person there lets it decide again.
    """

    code = "FE203"

    def __init__(self, reasons: Sequence[str], *, lasting: bool = False) -> None:
        super().__init__(reasons)
        self.lasting = lasting


class BudgetExceeded(FedethicsError):
    """A mechanism would bring a data set past a cap. Nothing was computed."""

    code = "FE301"
    exit_code = EXIT_REFUSED


class LedgerError(FedethicsError):
    """The ledger cannot be read or written, or its state forbids the step. Nothing was computed."""

    code = "FE302"
    exit_code = EXIT_REFUSED


class LedgerTampered(FedethicsError):
    """The ledger's bytes do not verify against its chain, signatures or recorded head."""

    code = "FE303"
    exit_code = EXIT_INTEGRITY


class AccountingError(FedethicsError, ValueError):
    """Parameters that no accountant can turn into a finite, valid epsilon."""

    code = "FE304"
    exit_code = EXIT_BAD_INPUT


class DataError(FedethicsError, ValueError):
    """A data file is missing, malformed, or not as the charter's schema says."""

    code = "FE401"
    exit_code = EXIT_BAD_INPUT


class ModelError(FedethicsError):
    """The base model is missing, or its bytes are not those whose hash was agreed."""

    code = "FE402"
    exit_code = EXIT_INTEGRITY


class TrainingError(FedethicsError):
    """A differential-privacy guard or the start-up self-test failed. Nothing was released."""

    code = "FE501"
    exit_code = EXIT_INTEGRITY


class SecaggReject(FedethicsError, ValueError):
    """A protocol message was refused as malformed or out of place. No state changed."""

    code = "FE601"
    exit_code = EXIT_BAD_INPUT


class SecaggAbort(FedethicsError):
    """A lie was caught. The session is over; nothing more of it will ever be revealed."""

    code = "FE602"
    exit_code = EXIT_INTEGRITY


class SumRefuted(FedethicsError):
    """A sum of this run did not pass this site's check. It answers no further round of the run."""

    code = "FE603"
    exit_code = EXIT_INTEGRITY


class SumUntold(FedethicsError):
    """A sum that this site helped to open was not received or not checked yet; the site waits."""

    code = "FE604"
    exit_code = EXIT_REFUSED


class AdapterRefused(FedethicsError):
    """An adapter does not follow from the public start and from checked sums. Nothing was done."""

    code = "FE605"
    exit_code = EXIT_INTEGRITY


class EgressError(FedethicsError):
    """An answer holds what may not leave the site. Nothing of it was sent."""

    code = "FE606"
    exit_code = EXIT_INTEGRITY


class FairnessError(FedethicsError, ValueError):
    """A metric is unknown or needs what was not collected, or a group was not declared."""

    code = "FE701"
    exit_code = EXIT_BAD_INPUT


class ReleaseError(FedethicsError):
    """A run directory is incomplete, or a release does not verify."""

    code = "FE801"
    exit_code = EXIT_BAD_INPUT


class ApprovalRefused(FedethicsError):
    """The release may not be approved, or not by this key, or not without saying why."""

    code = "FE802"
    exit_code = EXIT_REFUSED


class RunError(FedethicsError):
    """A run cannot start, continue or finish."""

    code = "FE901"
    exit_code = EXIT_BAD_INPUT


class SetupError(FedethicsError):
    """A package, model or data set could not be got at set-up."""

    code = "FE902"
    exit_code = EXIT_ENVIRONMENT
