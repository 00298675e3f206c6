"""Numbers as papers print them: one typography, and the readings that a string leaves open.

``0·80``, ``0,04``, ``10 784``, ``−3``, ``≪0.0001``, ``5.81 × 10−48``, ``<11``, ``46 (71.9)`` and
``NR`` each have one reading and are read. A string with two is no number here, so that whoever
wrote it is asked: ``1,234`` may be a thousand or little more than one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

_SPACES = re.compile(r"[\u00a0\u2000-\u200a\u202f\u205f]")
_MIDDLE_DOT = re.compile(r"[\u00b7\u2219\u22c5\u2027](?=\d)")
_MINUS = re.compile(r"^[\u2212\u2012\u2013\ufe63\uff0d](?=[\d.])")
_GROUPED = re.compile(r"-?\d{1,3}(?:([ ,'’])\d{3})(?:\1\d{3})*(?:\.\d+)?")
_COMMA = re.compile(r"-?(\d*),(\d+)")
_GROUPED_POINTS = re.compile(r"-?\d{1,3}(?:\.\d{3})+,\d+")
_NUMBER = re.compile(r"-?([0-9]{1,12}(\.[0-9]{1,12})?|\.[0-9]{1,12})")
# a point and three zeros may be a thousand as well
_WHOLE = re.compile(r"-?[0-9]{1,12}(\.0{1,2}|\.0{4,})?")

_SUPERSCRIPTS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-")
_POWER = re.compile(
    r"(?:(?P<factor>[\d.]+)\s*[x×*]\s*)?10\s*\^?\s*[-\u2212\u2012\u2013](?P<power>\d+)"
)
_EXPONENT = re.compile(r"(?P<factor>[\d.]+)[eE][-\u2212\u2013](?P<power>\d+)")
_P_NAME = re.compile(r"^[Pp][\s-]*(?:[Vv]alue\b|(?=[\s<>=≤≥≪≫:]|$))\s*:?\s*")
_MARKS = re.compile(r"\s*(?:[*†‡§¶#]|[\u1d43-\u1dbf\u00aa\u2071]|[⁰¹²³⁴⁵⁶⁷⁸⁹])+$")

_SIGNS = (
    (r"(?:<<|≪|<|less than|fewer than|below|under)", "<"),
    (r"(?:>>|≫|>|more than|greater than|above|over)", ">"),
    (r"(?:≤|<=|⩽|at most|up to)", "<="),
    (r"(?:≥|>=|⩾|at least)", ">="),
    (r"=", "="),
)  # fmt: skip
_SIGN = [(re.compile(rf"^{pattern}\s*(?![<>=])", re.IGNORECASE), sign) for pattern, sign in _SIGNS]

_NOT_REACHED = re.compile(
    r"n\.?\s?r\.?|n\.?\s?e\.?|not (?:yet )?(?:been )?reached|not (?:estimable|estimated|evaluable)|"
    r"unreached|n\.?\s?c\.?|not calculable|∞",
    re.IGNORECASE,
)
_NOTHING = re.compile(r"n\.?\s?/?\s?a\.?|[-\u2013\u2014\u2212.]+", re.IGNORECASE)
_NOT_REACHED_IN_TEXT = re.compile(
    r"(?<![\w.])(?:NR|NE|N\.R\.|N\.E\.|n\.r\."
    r"|not (?:yet )?(?:been )?reached|not estimable|∞)(?!\w)",
)
_PERCENT = r"\(\s*(?P<sign>[<>≤≥]?)\s*(?P<percent>[\d.,·]+)\s*%?\s*\)"
_COUNT = re.compile(
    rf"(?P<count>[^/([]+?)(?:\s*(?:/|\bof\b|\bout of\b)\s*(?P<of>\d+))?\s*(?:{_PERCENT})?"
)
_PERCENT_FIRST = re.compile(r"^([\d.,·]+)\s*%\s*\(\s*(\d+)\s*\)$")
_RANGE = re.compile(r"(\d+)\s*(?:[-\u2013\u2212]|to)\s*(\d+)")
_IN_TEXT = re.compile(r"(?<![0-9.])([0-9]+(?:\.[0-9]+)?|\.[0-9]+)")

NOT_REACHED = "NR"
"""What the ledger holds for a median that is not reached: survival above one half to the end."""

OPEN = "NE"
"""What the ledger holds for a limit of an interval that is not reached."""


@dataclass(frozen=True)
class Count:
    """A printed count: ``low`` to ``high`` (None: no limit), with the parts printed beside it.

    ``percent`` is the percentage in brackets (empty: none) and ``of`` the number after a slash.
    """

    low: int
    high: int | None
    percent: str = ""
    of: int | None = None

    @property
    def exact(self) -> int | None:
        """The count, where it is one number."""
        return self.low if self.low == self.high else None


def plain(text: str) -> str:
    """One typography for the digits of a cell: decimal point, hyphen as minus, no grouping."""
    found = _MIDDLE_DOT.sub(".", _SPACES.sub(" ", text)).strip()
    found = _MINUS.sub("-", found)
    if _GROUPED_POINTS.fullmatch(found):  # 1.234,5
        return found.replace(".", "").replace(",", ".")
    grouped = _GROUPED.fullmatch(found)
    comma = _COMMA.fullmatch(found)
    if comma and _is_decimal_comma(comma[1], comma[2]):
        return found.replace(",", ".")
    if grouped and not comma:
        return re.sub(r"[ ,'’]", "", found)
    return found


def _is_decimal_comma(before: str, after: str) -> bool:
    """Tell whether a comma can only be a decimal one: no thousands end before it."""
    return len(after) != 3 or before in ("", "0") or len(before) > 3


def number(text: str) -> Decimal | None:
    """Plain decimal number of a cell, else None."""
    found = plain(text)
    return Decimal(found) if _NUMBER.fullmatch(found) else None


def whole(text: str) -> int | None:
    """Whole number of a cell (``53``, ``53.0`` as spreadsheets write it, ``10,784``), else None."""
    found = plain(text)
    if re.fullmatch(r"-?\d{1,3}(,\d{3})+", found):  # no whole number has decimals
        found = found.replace(",", "")
    return int(float(found)) if _WHOLE.fullmatch(found) else None


def relation_of(text: str) -> tuple[str, str]:
    """Split ``<11``, ``≥ 5``, ``fewer than 11``, ``36+``: sign (<, >, <=, >=, = or empty), rest."""
    found = _SPACES.sub(" ", text).strip()
    for pattern, sign in _SIGN:
        match = pattern.match(found)
        if match:
            return sign, found[match.end() :].strip()
    if re.fullmatch(r"[\d.,·]+\s*\+", found):
        return ">=", found.rstrip("+ ")
    return "", found


def stated(text: str) -> tuple[str, Decimal] | None:
    """Relation and number of a cell such as ``36``, ``>36`` or ``36+``, else None.

    A quantity on a scale is as good as never equal to its bound: ``≥`` is told as ``>``.
    """
    sign, rest = relation_of(text.removesuffix("%").rstrip())
    found = number(rest)
    return None if found is None else (sign[:1] or "=", found)


def p_value(text: str) -> tuple[str, Decimal] | None:
    """Relation (``=``, ``<``, ``>``) and number of a P value in any usual print, else None."""
    sign, digits = relation_of(_without_name(text))
    found = _scientific(digits)
    digits = _MARKS.sub("", digits)
    found = _scientific(digits) if found is None else found
    if found is None and re.fullmatch(r"[01],\d+", digits):
        digits = digits.replace(",", ".")  # at most 1: no comma of thousands
    found = number(digits) if found is None else found
    return None if found is None else (sign[:1] or "=", found)


def p_as_printed(text: str) -> str:
    """P value as printed, without its letter and footnote marks: ``≪0.0001``, ``0,04``."""
    found = _without_name(text)
    power = _scientific(relation_of(found)[1]) is not None
    return found if power else _MARKS.sub("", found).strip()


def _without_name(text: str) -> str:
    return _P_NAME.sub("", _SPACES.sub(" ", text).strip())


def _scientific(digits: str) -> Decimal | None:
    found = _MIDDLE_DOT.sub(".", digits).translate(_SUPERSCRIPTS).replace(",", ".").strip()
    match = _POWER.fullmatch(found) or _EXPONENT.fullmatch(found)
    if match is None or int(match["power"]) > 400:
        return None
    factor = match["factor"] or "1"
    if not _NUMBER.fullmatch(factor):
        return None
    return Decimal(factor).scaleb(-int(match["power"]))


def is_not_reached(text: str) -> bool:
    """Tell whether a cell says in letters that a time is not reached: ``NR``, ``n.r.``, ``NE``."""
    return bool(_NOT_REACHED.fullmatch(text.strip()))


def is_nothing(text: str) -> bool:
    """Tell whether a cell holds a dash or ``NA``: not reached, or not printed."""
    return bool(_NOTHING.fullmatch(text.strip()))


def is_open(text: str) -> bool:
    """Tell whether a limit of an interval is no number: not reached, ``NE``, a dash, ``>36``."""
    bound = stated(text)
    return is_not_reached(text) or is_nothing(text) or (bound is not None and bound[0] != "=")


def says_not_reached(text: str) -> bool:
    """Tell whether a printed text says so before its interval: ``NR (12.3–NE)``."""
    return bool(_NOT_REACHED_IN_TEXT.search(re.split(r"[(\[]", text)[0]))


def count(text: str) -> Count | None:
    """Count of a cell: ``46``, ``<11``, ``1–10``, ``46 (71.9)``, ``46/64``, else None."""
    found = _SPACES.sub(" ", text).replace("[", "(").replace("]", ")").strip()
    match = _COUNT.fullmatch(_PERCENT_FIRST.sub(r"\2 (\1)", found))
    if match is None:
        return None
    span = _span(match["count"].strip())
    if span is None:
        return None
    of = int(match["of"]) if match["of"] else None
    return Count(*span, plain(match["percent"] or ""), of)


def _span(text: str) -> tuple[int, int | None] | None:
    between = _RANGE.fullmatch(text)
    if between:
        low, high = int(between[1]), int(between[2])
        return (low, high) if low < high else None
    sign, rest = relation_of(text)
    found = whole(rest)
    if found is None or (found < 0 and sign):
        return None
    spans = {
        "<": (0, found - 1),
        "<=": (0, found),
        ">": (found + 1, None),
        ">=": (found, None),
    }
    return spans.get(sign, (found, found)) if sign != "<" or found > 0 else None


def fits_percentage(part: int, of: int, percent: str) -> bool:
    """Tell whether ``part`` of ``of`` prints as ``percent``, rounded or cut off."""
    shown = number(percent)
    if shown is None or of <= 0:
        return False
    unit = Decimal(1).scaleb(-decimals(plain(percent)))
    gap = Decimal(100 * part) / of - shown
    return -unit / 2 <= gap < unit


def decimals(text: str) -> int:
    """Digits after the decimal point of a number as written."""
    return len(plain(text).partition(".")[2])


def printed_numbers(text: str) -> tuple[str, ...]:
    """All numbers of a printed string in every reading of its points and commas, without sign."""
    found = _MIDDLE_DOT.sub(".", _SPACES.sub(" ", text))
    with_points = re.sub(r"(?<=\d),(?=\d)", ".", found)
    joined = re.sub(r"(?<=\d)[ ,'’](?=\d{3}(?!\d))", "", found)
    ways = (found, with_points, joined)
    return tuple(dict.fromkeys(number for way in ways for number in _IN_TEXT.findall(way)))


def p_values_in(text: str) -> tuple[Decimal, ...]:
    """Numbers of a printed string, those with powers of ten among them."""
    found = _MIDDLE_DOT.sub(".", _SPACES.sub(" ", text)).translate(_SUPERSCRIPTS)
    powers = [m for p in (_POWER, _EXPONENT) for m in p.finditer(found.replace(",", "."))]
    read = [_scientific(match[0]) for match in powers]
    return (*(p for p in read if p is not None), *map(Decimal, printed_numbers(text)))
