"""Rows of the evidence table as the page shows them: text, anchors, links and sort keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import pandas as pd

from her2bayes.audit.claims import quantities
from her2bayes.inference.convergence import failed
from her2bayes.page.numbers import interval, number, p_value, probability, survival_time

# verdict -> words on the page, in the order in which a reviewer wants them counted
VERDICT_LABELS = {
    "reproduces": "reproduces",
    "rounding": "rounding",
    "method": "method",
    "differs": "differs",
    "inconsistent": "inconsistent",
    "not_checkable": "not checkable",
}
VERDICT_MEANINGS = {
    "reproduces": "the number follows from other printed numbers at the printed decimals",
    "rounding": "it follows after a rounding step in between, or with the last digit cut off",
    "method": "it follows only under a named variant of the method",
    "differs": "it does not follow from the printed numbers it should follow from",
    "inconsistent": "another printed number contradicts it",
    "not_checkable": "what is printed does not determine it; the note says what is missing",
}


KIND_MEANINGS = {
    "printed": "nothing else determines it: the number stands as printed",
    "recomputed": "from other printed numbers of the same paper",
    "patients": "from patients' records",
    "by_construction": "a constraint: the published number was an input, agreement is no evidence",
    "implied": "from reported counts that do not determine it, and the prior of the model",
}


def kind_words() -> list[tuple[str, str]]:
    """Pair each kind of evidence with what it means."""
    return [(kind.replace("_", " "), meaning) for kind, meaning in KIND_MEANINGS.items()]


def verdict_words() -> list[tuple[str, str]]:
    """Pair each verdict's label with what it means."""
    return [(VERDICT_LABELS[v], meaning) for v, meaning in VERDICT_MEANINGS.items()]


def anchor(claim_id: str) -> str:
    """Page anchor of a ledger row: letters, digits, dots, hyphens and underscores only."""
    return "claim-" + re.sub(r"[^\w.-]", "-", claim_id)


def rows(
    evidence: pd.DataFrame,
    doi: str = "",
    findings: pd.DataFrame | None = None,
    fits: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Give each row of an evidence table as texts for the page, in the order of the table.

    With ``doi`` a printed row links to its words in the paper, with ``findings`` to the findings
    that rest on it; ``fits`` maps fit ids to the section that reports them.
    """
    records = evidence.to_dict(orient="records")
    found = [_row(place, {str(k): v for k, v in r.items()}) for place, r in enumerate(records)]
    topics = _topics(found, fits or {})
    cited: dict[str, list[dict[str, Any]]] = {}
    for place, finding in enumerate([] if findings is None else findings.to_dict("records"), 1):
        for claim_id in dict.fromkeys(str(finding["claim_ids"]).split()):
            link = {"number": place, "anchor": finding_anchor(finding["finding_id"])}
            cited.setdefault(claim_id, []).append(link)
    for row in found:
        row["paper"] = paper_link(doi, row["printed_text"]) if row["claim_id"] else ""
        row["findings"] = cited.get(row["claim_id"], []) if row["claim_id"] else []
        row["topic"] = topics.get(row["kind"], "")
    return found


def _topics(found: Iterable[Mapping[str, Any]], fits: Mapping[str, str]) -> dict[str, str]:
    """Section of each kind of estimand: the one whose fits answer most rows of the kind."""
    votes: dict[str, dict[str, int]] = {}
    for row in found:
        section = fits.get(row["fit_id"])
        if section:
            of_kind = votes.setdefault(row["kind"], {})
            of_kind[section] = of_kind.get(section, 0) + 1
    return {kind: max(of_kind, key=lambda s: of_kind[s]) for kind, of_kind in votes.items()}


def paper_link(doi: str, text: str) -> str:
    """Address of the paper that opens at a printed text, where the browser can; '' without DOI."""
    if not doi:
        return ""
    words = quote(text, safe="").replace("-", "%2D")
    return f"https://doi.org/{quote(doi, safe='/.()')}" + (f"#:~:text={words}" if words else "")


def finding_anchor(finding_id: object) -> str:
    """Page anchor of a finding."""
    return "finding-" + re.sub(r"[^\w.-]", "-", str(finding_id))


def findings(table: pd.DataFrame, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Findings with the rows they rest on, grouped by their place in the paper."""
    known = {row["claim_id"]: row for row in rows if row["claim_id"]}

    def cited(claim_ids: Iterable[str]) -> list[dict[str, Any]]:
        places: dict[str, list[dict[str, str]]] = {}
        for claim_id in claim_ids:
            row = known.get(claim_id, {})
            link = {"claim_id": claim_id, "anchor": row.get("anchor", "")}
            places.setdefault(row.get("locator", ""), []).append(link)
        return [{"locator": locator, "links": links} for locator, links in places.items()]

    return [
        {
            "number": place,
            "anchor": finding_anchor(finding["finding_id"]),
            "kind": str(finding["kind"]).replace("_", " "),
            "contradiction": any(
                known.get(c, {}).get("verdict") in {"inconsistent", "differs"}
                for c in str(finding["claim_ids"]).split()
            ),
            "sentence": finding["sentence"],
            "places": cited(str(finding["claim_ids"]).split()),
        }
        for place, finding in enumerate(table.to_dict(orient="records"), 1)
    ]


def verdict_counts(evidence: pd.DataFrame) -> list[dict[str, Any]]:
    """Count ledger rows by verdict, with the place of each in a bar 1000 units wide."""
    verdicts = evidence.loc[evidence["claim_id"] != "", "verdict"]
    counts = verdicts.value_counts()
    return bar({v: int(counts.get(v, 0)) for v in VERDICT_LABELS})


def quantity_counts(evidence: pd.DataFrame) -> list[dict[str, Any]]:
    """Count distinct quantities by verdict, with the place of each in a bar 1000 units wide."""
    counts = quantities(evidence)["verdict"].value_counts()
    return bar({v: int(counts.get(v, 0)) for v in VERDICT_LABELS})


def bar(counts: Mapping[str, int]) -> list[dict[str, Any]]:
    """Give counts by verdict their places in a bar 1000 units wide."""
    total, start, parts = max(1, sum(counts.values())), 0.0, []
    for verdict, label in VERDICT_LABELS.items():
        amount = counts.get(verdict, 0)
        width = 1000 * amount / total
        parts.append(
            {
                "verdict": verdict,
                "label": label,
                "count": amount,
                "start": f"{start:.2f}",
                "width": f"{width:.2f}",
            }
        )
        start += width
    return parts


def _row(place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    claim_id, verdict = _text(row, "claim_id"), _text(row, "verdict")
    convergence = _text(row, "convergence")
    return {
        **{name: _text(row, name) for name in _AS_THEY_ARE},
        "claim_id": claim_id,
        "anchor": anchor(claim_id) if claim_id else f"row-{place + 1}",
        "order": place,
        "kind": _text(row, "estimand").partition("[")[0],
        "printed_text": _text(row, "published_text"),
        "statistic": _text(row, "statistic").replace("_", " "),
        "published": _published(row),
        "published_sort": _sort(row, "published", "published_p"),
        "reproduced": _reproduced(row),
        "reproduced_sort": _sort(row, "reproduced", "reproduced_p"),
        "posterior": _estimate(row, "posterior_median", "posterior_lower", "posterior_upper"),
        "posterior_sort": _sort(row, "posterior_median"),
        "probability": _chance(row),
        "prior": _prior(row),
        "verdict": verdict,
        "verdict_label": VERDICT_LABELS.get(verdict, verdict),
        "verdict_order": list(VERDICT_LABELS).index(verdict) if verdict in VERDICT_LABELS else "",
        "failed": convergence if failed(convergence) else "",
    }


_AS_THEY_ARE = ("locator", "estimand", "method", "evidence_kind", "note", "reading", "fit_id")


def _published(row: Mapping[str, Any]) -> str:
    """Text of the paper, as printed; numbers only where the table came without it."""
    text = _text(row, "published_text")
    if text:
        return text
    text = interval(row.get("published"), row.get("published_lower"), row.get("published_upper"))
    p = p_value(row.get("published_p"))
    if p:
        text += f"{'; ' if text else ''}P {p if p[0] == '<' else '= ' + p}"
    return text


def _reproduced(row: Mapping[str, Any]) -> str:
    text = _estimate(row, "reproduced", "reproduced_lower", "reproduced_upper")
    p = p_value(row.get("reproduced_p"))
    if p:
        text += f"{'; ' if text else ''}P {p if p[0] == '<' else '= ' + p}"
    return text


def _estimate(row: Mapping[str, Any], value: str, lower: str, upper: str) -> str:
    bounds = (row.get(lower), row.get(upper))
    if _median_of_a_fit(row, value):
        return survival_time(row.get(value), *bounds, _text(row, "unit"))
    exact = bounds[0] == bounds[1]  # counts without rounding: an interval of no width
    text = interval(row.get(value), *((None, None) if exact else bounds), unit=_text(row, "unit"))
    return f"{text}\N{NO-BREAK SPACE}%" if text and _text(row, "unit") == "%" else text


def _median_of_a_fit(row: Mapping[str, Any], value: str) -> bool:
    """Whether what is missing lies beyond follow-up: of posterior and prior, where there is one."""
    fitted = value.startswith(("posterior", "prior")) and _text(row, "fit_id") != ""
    return fitted and _text(row, "estimand").startswith("median[")


def _chance(row: Mapping[str, Any]) -> str:
    posterior, prior = (probability(row.get(f"{n}_probability")) for n in ("posterior", "prior"))
    return f"{posterior} (prior {prior})" if posterior and prior else posterior


def _prior(row: Mapping[str, Any]) -> list[str]:
    text = _estimate(row, "prior_median", "prior_lower", "prior_upper")
    learnt = number(row.get("contraction"), 2)
    lines = (("prior", text), ("contraction", learnt))
    return [f"{name} {value}" for name, value in lines if value]


def _sort(row: Mapping[str, Any], *columns: str) -> str:
    for column in columns:
        value = row.get(column)
        if isinstance(value, int | float) and not pd.isna(value):
            return f"{value:.6g}"
    return ""


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row.get(column)
    return value if isinstance(value, str) else ""
