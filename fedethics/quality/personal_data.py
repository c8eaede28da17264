"""Personal data in free text that has a form: identity numbers, mail, phones, dates of birth.

Guarantee: a number with check digits is reported only if they hold. Nothing here makes a text
anonymous: names, places and what happened to a person have no form and stay.

Sources: ISO 13616 (IBAN, mod 97), ISO/IEC 7812-1 annex B (Luhn), the NHS data dictionary (modulus
11), Skatteverket SKV 704 (personnummer), DVV (henkilötunnus), BZSt (Identifikationsnummer,
ISO 7064 MOD 11,10), SSA (numbers never assigned).

Sensitive: what is found is a record's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from fedethics.errors import DataError


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One form of personal data.

    Attributes:
        name: in reports and, in capitals, in placeholders.
        pattern: what it looks like.
        holds: of a match, whether its check digits and its ranges hold.
        part: of a match, the beginning of it that is one; the whole, where it need not end there.
    """

    name: str
    pattern: re.Pattern[str]
    holds: Callable[[str], bool] = lambda _: True
    part: Callable[[str], str] = lambda said: said


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """A place in a text.

    Attributes:
        kind: the name of its kind.
        begin, end: in characters; the end is not part of it.
    """

    kind: str
    begin: int
    end: int


def _digits(said: str) -> list[int]:
    return [int(one) for one in said if one in "0123456789"]


def luhn(said: str) -> bool:
    """Say whether the digits hold by Luhn's sum."""
    doubled = [
        digit if place % 2 == 0 else sum(divmod(2 * digit, 10))
        for place, digit in enumerate(reversed(_digits(said)))
    ]
    return sum(doubled) % 10 == 0


def iban(said: str) -> bool:
    """Say whether an IBAN's two check digits hold."""
    plain = said.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(one, 36)) for one in plain[4:] + plain[:4])) % 97 == 1


# Characters of an IBAN, and the countries whose IBANs have so many: ISO 13616, SWIFT's registry.
_IBANS = {
    15: "NO",
    16: "BE",
    18: "DK FI FO GL NL",
    19: "MK SI",
    20: "AT BA EE KZ LT LU XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS",
    23: "AE GI IL",
    24: "AD CZ ES MD PK RO SA SE SK TN",
    25: "PT",
    26: "IS TR",
    27: "FR GR IT MC SM",
    28: "AL AZ CY DO HU LB PL",
    29: "BR PS QA UA",
    30: "KW",
    31: "MT",
}
_IBAN_LENGTHS = {country: size for size, named in _IBANS.items() for country in named.split()}


def iban_part(said: str) -> str:
    """Return the beginning that is as long as an IBAN of its country; a word may follow it."""
    length, count = _IBAN_LENGTHS.get(said[:2].upper(), 0), 0
    for end, one in enumerate(said, start=1):
        count += one != " "
        if count == length:
            return "" if said[end : end + 1].isalnum() else said[:end]
    return said if length == 0 else ""


def nhs_number(said: str) -> bool:
    """Say whether the tenth digit of an NHS number holds."""
    *nine, check = _digits(said)
    weighed = sum(weight * digit for weight, digit in zip(range(10, 1, -1), nine, strict=True))
    return (11 - weighed % 11) % 11 == check


def german_tax_number(said: str) -> bool:
    """Say whether the last digit of an Identifikationsnummer holds."""
    *ten, check = _digits(said)
    product = 10
    for digit in ten:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == check


def _is_day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def swedish_number(said: str) -> bool:
    """Say whether a personnummer's day is one and its last digit holds."""
    digits = "".join(map(str, _digits(said)))[-10:]
    # Two digits leave the century open: a day of either is one.
    day = int(digits[4:6])
    years = [100 * century + int(digits[:2]) for century in (19, 20)]
    return luhn(digits) and any(_is_day(year, int(digits[2:4]), day) for year in years)


def finnish_number(said: str) -> bool:
    """Say whether a henkilötunnus' day is one and its last character holds."""
    day, month, year = int(said[:2]), int(said[2:4]), int(said[4:6])
    century = 18 if said[6] == "+" else 20 if said[6].upper() in "ABCDEF" else 19
    check = "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(said[:6] + said[7:10]) % 31]
    return _is_day(100 * century + year, month, day) and said[10].upper() == check


def _kind(
    name: str,
    pattern: str,
    holds: Callable[[str], bool] = lambda _: True,
    part: Callable[[str], str] = lambda said: said,
    *,
    flags: re.RegexFlag = re.ASCII | re.IGNORECASE,
) -> Kind:
    return Kind(name=name, pattern=re.compile(pattern, flags), holds=holds, part=part)


# A point or hyphen before a number may end a word ("Nr.", "SSN-"), but no number.
_FREE, _ENDS = r"(?<!\w)(?<!\d[.-])", r"(?![\w-])"
_DAY = r"(?:\d{1,2}[./-]\d{1,2}[./-]\d{2,4}|\d{4}[./-]\d{1,2}[./-]\d{1,2})"
_LOCAL = r"[\w.+'-]"
KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        _kind("mail", rf"(?<!{_LOCAL}){_LOCAL}{{1,64}}@(?:[\w-]{{1,63}}\.){{1,8}}"
              r"[^\W\d_]{2,24}(?!\w)", flags=re.IGNORECASE),
        _kind("iban", rf"{_FREE}[a-z]{{2}}\d{{2}}(?: ?[a-z0-9]{{4}}){{2,7}}(?: ?[a-z0-9]{{1,3}})?"
              rf"{_ENDS}", iban, iban_part),
        _kind("payment-card", rf"{_FREE}(?:3[47]\d{{2}}[ -]?\d{{6}}[ -]?\d{{5}}"
              rf"|[2-6]\d{{3}}(?:[ -]?\d{{4}}){{2}}[ -]?\d{{1,7}}){_ENDS}", luhn),
        _kind("nhs-number", rf"{_FREE}\d{{3}}[ -]?\d{{3}}[ -]?\d{{4}}{_ENDS}", nhs_number),
        _kind("us-ssn", rf"{_FREE}(?!000|666|9)\d{{3}}-(?!00)\d{{2}}-(?!0000)\d{{4}}{_ENDS}"),
        _kind("swedish-number", rf"{_FREE}(?:19|20)?\d{{6}}[-+]?\d{{4}}{_ENDS}", swedish_number),
        _kind("finnish-number",
              rf"{_FREE}\d{{6}}[-+ABCDEFYXWVU]\d{{3}}[0-9A-Y]{_ENDS}", finnish_number),
        _kind("german-tax-number", rf"{_FREE}[1-9]\d(?: ?\d{{3}}){{3}}{_ENDS}", german_tax_number),
        _kind("phone", r"(?<!\w)(?<!\d\.)(?:\+|00)[1-9](?:[ ()/.-]{0,2}\d){7,13}(?!\w)"),
        _kind("birth-date", r"\b(?:born|d\.?o\.?b\.?|date of birth|birth ?date|geb\.?|geboren)"
              rf"(?: on| am)?[ :,=-]{{0,3}}{_DAY}(?!\w)"),
    )
}  # fmt: skip
# Spaces and hyphens of word processors, each compared as the plain one.
_PLAIN = str.maketrans(
    dict.fromkeys("\u00a0\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u3000", " ")
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe63\uff0d", "-")
)
RECORD_NUMBER = "record-number"


def own_kind(pattern: str) -> Kind:
    """Return the kind of a site's own record numbers.

    Args:
        pattern: a regular expression, as `re` reads it.

    Raises:
        DataError: it is none, or it matches an empty text.
    """
    try:
        found = re.compile(pattern)
    except re.error as error:
        raise DataError(f"--record-number is no regular expression: {error}") from error
    if found.search(""):
        raise DataError("--record-number matches an empty text, so it would match everywhere")
    return Kind(name=RECORD_NUMBER, pattern=found)


def marks(text: str, kinds: Iterable[Kind]) -> tuple[Mark, ...]:
    """Return where a text holds personal data, in order.

    Marks that overlap are one, of the kind that begins first, and the longest of these: no end of a
    number that was found is left over.

    Args:
        text: of one record.
        kinds: those to look for.
    """
    plain = text.translate(_PLAIN)
    found = [mark for kind in kinds for mark in _of_kind(kind, plain)]
    kept: list[Mark] = []
    for mark in sorted(found, key=lambda mark: (mark.begin, -mark.end)):
        if not kept or mark.begin >= kept[-1].end:
            kept.append(mark)
        elif mark.end > kept[-1].end:
            kept[-1] = replace(kept[-1], end=mark.end)
    return tuple(kept)


def _of_kind(kind: Kind, text: str) -> Iterator[Mark]:
    at = 0
    while one := kind.pattern.search(text, at):
        said = kind.part(one.group())
        if said and kind.holds(said):
            at = one.start() + len(said)
            yield Mark(kind=kind.name, begin=one.start(), end=at)
        else:
            at = one.start() + 1


class Placeholders:
    """Placeholders of one record: one value has one name in it, in whichever column it stands.

    The next record begins again, so that no placeholder links two records.
    """

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], str] = {}
        self._counted: dict[str, int] = {}

    def redacted(self, text: str, kinds: Iterable[Kind]) -> tuple[str, tuple[Mark, ...]]:
        """Return a text with a placeholder for each mark, and the marks."""
        found = marks(text, kinds)
        pieces, end = [], 0
        for mark in found:
            pieces += [text[end : mark.begin], self._name(mark.kind, text[mark.begin : mark.end])]
            end = mark.end
        return "".join([*pieces, text[end:]]), found

    def _name(self, kind: str, value: str) -> str:
        if (kind, value) not in self._names:
            self._counted[kind] = self._counted.get(kind, 0) + 1
            self._names[kind, value] = f"[{kind.upper()}-{self._counted[kind]}]"
        return self._names[kind, value]
