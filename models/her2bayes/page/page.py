"""Sections, findings and evidence table as one self-contained HTML file, and the index of a run.

Nothing is loaded from elsewhere: one style element and one script, both allowed by their hash in
the content policy, figures inline. Every text is escaped by Jinja; only SVG made by
``page.style`` is inserted as it is.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from her2bayes.audit.claims import counted, quantities
from her2bayes.inference import convergence
from her2bayes.inference.convergence import failed
from her2bayes.page import key_results as key
from her2bayes.page.fit_card import PLOT_SIZE, judgements
from her2bayes.page.numbers import count
from her2bayes.page.section import Section
from her2bayes.page.section_view import (
    all_tables,
    bar,
    flat,
    glossary,
    kind_words,
    linked,
    models_view,
    quantity_counts,
    section_view,
    verdict_counts,
    verdict_words,
)
from her2bayes.page.section_view import findings as findings_shown
from her2bayes.page.section_view import rows as evidence_rows
from her2bayes.page.style import css_variables
from her2bayes.version import __version__

_TEMPLATES = Path(__file__).parent / "templates"
_SCRIPTS = ("page.js", "tables.js", "figures.js", "evidence.js")
_PROVENANCE = (
    "package_version",
    "schema_version",
    "seed",
    "quick",
    "sampling",
    "versions",
    "study",
)
_SHOWN_ON_INDEX = 4  # findings quoted for each study on the index


@dataclass(frozen=True)
class StudyPage:
    """All that the page of one study shows.

    ``study`` holds id, title, citation, doi and design; ``evidence`` the columns of the evidence
    table; ``findings`` finding_id, claim_ids (joined by spaces), kind, sentence, most important
    first; ``absent`` one sentence for each analysis the printed evidence does not allow;
    ``notices`` warnings that stand above everything; ``run`` what the run recorded of itself;
    ``table_file`` the evidence table beside the page; ``index`` whether the page of all studies
    lies one folder up; ``beside`` whether the files of the page (Markdown, LaTeX tables, figures)
    stand beside it; ``headline`` the claim ids of the key results with the quantity in words, and
    ``stances`` what a sensitivity analysis says of their estimands.
    """

    study: Mapping[str, str]
    evidence: pd.DataFrame
    findings: pd.DataFrame
    cohort: Section
    sections: tuple[Section, ...]
    absent: tuple[str, ...]
    methods: tuple[str, ...]
    notices: tuple[str, ...]
    run: Mapping[str, Any]
    table_file: str = "evidence.csv"
    index: bool = True
    beside: bool = False
    headline: Mapping[str, str] = field(default_factory=dict)
    stances: Mapping[str, str] = field(default_factory=dict)

    @property
    def key_results(self) -> key.KeyResults:
        """Key results of the page: of a paper its headline, of a cohort the first answers."""
        return key.key_results(self.study["id"], self.evidence, self.headline, self.stances)

    @property
    def judgements(self) -> tuple[tuple[str, str], ...]:
        """What is said of the priors and the models of all fits: name and line."""
        cards = {str(f.get("fit_id")): f for s in (self.cohort, *self.sections) for f in s.fits}
        return judgements(list(cards.values()))

    @property
    def methods_to_paste(self) -> tuple[str, ...]:
        """A paragraph on what was run, for a paper; then its references, the software first."""
        paragraph = _paragraph(self)
        return (paragraph, *(_REFERENCES if "[2]" in paragraph else _REFERENCES[:1]))


def _paragraph(page: StudyPage) -> str:
    """Data, models with priors, sampling and its checks, in sentences."""
    cards = [card for section in (page.cohort, *page.sections) for card in section.fits]
    printed = int((page.evidence["claim_id"] != "").sum())
    study, run, said = page.study, page.run, []
    if printed:
        said.append(
            f"The {printed} numbers transcribed from {study['citation'] or study['title']} were "
            "audited: each was computed again from other printed numbers, by arithmetic or by the "
            "classical method it names."
        )
    models = list(_models(cards))
    if models:
        listed = " ".join(f"({place}) {text}" for place, text in enumerate(models, 1))
        said.append(f"Bayesian models of '{study['title']}': {listed}")
    if "sampling" in run and any(_is_sampled(card) for card in cards):
        chosen, version = run["sampling"], run["versions"]
        said.append(
            f"Posteriors were drawn with the No-U-Turn sampler [2] in PyMC {version['pymc']} [3] "
            f"and nutpie {version['nutpie']}: {chosen['chains']} chains of {chosen['draws']} draws "
            f"after {chosen['tune']} of adaptation, target acceptance "
            f"{chosen['target_accept']:g}, seed {run['seed']}."
        )
        if again := sum(bool(card.get("repeated")) for card in cards):
            said.append(
                f"For {again} of the fits transitions diverged, so they were sampled again with "
                "smaller steps."
            )
        if any(card.get("model") == "reconstructed_survival" for card in cards):
            said.append(
                "Patients behind printed survival numbers were drawn by parallel tempering, so "
                "that each cohort meets every printed number; their answers rest on its model."
            )
        bad = sum(failed(card.get("convergence", "")) for card in cards)
        verdict = f"{bad} of {len(cards)} fits do not pass." if bad else f"All {len(cards)} pass."
        said.append(
            f"A fit passes when, for every number reported from it [4, 5], "
            f"{convergence.sentence()} {verdict}"
        )
    said.append(
        "Estimates are posterior medians with 95 % equal-tailed credible intervals. Analyses were "
        f"made with her2bayes {__version__} [1]."
    )
    return " ".join(said)


def _is_sampled(card: Mapping[str, Any]) -> bool:
    return bool(card.get("diagnostics", {}).keys() - {"Method"})


def _models(cards: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Each model once: what it is, by its own words, its priors, and how many other priors."""
    priors: dict[str, list[dict[str, str]]] = {}
    for card in cards:
        named = str(card.get("equations", "")).partition("\n\n")[0].replace("\n", " ").rstrip(".")
        known, own = priors.setdefault(named, []), dict(card.get("priors", {}))
        if own and own not in known:
            known.append(own)
    for named, choices in priors.items():
        text = "; ".join(_prior(*item) for item in (choices or [{}])[0].items())
        more = len(choices) - 1
        others = f" (and {count(more, 'alternative')})" if more > 0 else ""
        yield f"{named}" + (f", with priors {text}{others}." if text else ".")


def _prior(name: str, text: str) -> str:
    distribution, _, words = text.partition(": ")
    return f"{name} ~ {distribution}" + (f" ({words})" if words else "")


_REFERENCES = (
    f"her2bayes contributors. her2bayes: Bayesian evidence workbench for HER2 status in breast "
    f"cancer, version {__version__}.",
    "Hoffman MD, Gelman A. The No-U-Turn sampler: adaptively setting path lengths in Hamiltonian "
    "Monte Carlo. J Mach Learn Res 2014;15:1593-1623.",
    "Abril-Pla O, et al. PyMC: a modern, and comprehensive probabilistic programming framework in "
    "Python. PeerJ Comput Sci 2023;9:e1516.",
    "Vehtari A, Gelman A, Simpson D, Carpenter B, Bürkner PC. Rank-normalization, folding, and "
    "localization: an improved R-hat for assessing convergence of MCMC. Bayesian Anal "
    "2021;16:667-718.",
    "Kumar R, Carroll C, Hartikainen A, Martin O. ArviZ: a unified library for exploratory "
    "analysis of Bayesian models in Python. J Open Source Softw 2019;4:1143.",
)
"""What the paragraph cites, numbered; the first is how to cite the software."""


def render_study(page: StudyPage) -> str:
    """Render the report of one study."""
    return _render("study.html.j2", **study_values(page))


def study_values(page: StudyPage) -> dict[str, Any]:
    """Everything a renderer prints of a study: texts and cells, no numbers left to format."""
    everything = (page.cohort, *page.sections)
    fits = {str(f.get("fit_id")): s.id for s in reversed(everything) for f in s.fits}
    rows = evidence_rows(
        page.evidence, doi=page.study.get("doi", ""), findings=page.findings, fits=fits
    )
    anchors = {row["claim_id"]: row["anchor"] for row in rows if row["claim_id"]}
    sections = [section_view(s) for s in everything]
    printed = bool((page.evidence["claim_id"] != "").any())
    # a paper's findings hold the warnings of its fits already
    rare = (
        ()
        if printed
        else tuple(w for s in everything for f in s.fits for w in f.get("warnings", ()))
    )
    return {
        "study": page.study,
        "table_file": page.table_file,
        "index": page.index,
        "beside": page.beside,
        "summary": summary(page.evidence),
        "key_results": key.view(page.key_results, fits, anchors),
        "judgements": page.judgements,
        "printed": printed,
        "verdicts": verdict_counts(page.evidence),
        "quantities": quantity_counts(page.evidence),
        "notices": (*page.notices, *dict.fromkeys(rare)),
        "findings": findings_shown(page.findings, rows),
        "cohort": sections[0],
        "sections": sections[1:],
        "absent": page.absent,
        "models": models_view(everything, rows),
        "methods": page.methods,
        "to_paste": page.methods_to_paste,
        "standards": convergence.sentence(),
        "verdict_words": verdict_words(),
        "kind_words": kind_words(),
        "rows": rows,
        "kinds": sorted({row["evidence_kind"] for row in rows} - {""}),
        "places": list(dict.fromkeys(row["locator"] for row in rows if row["claim_id"])),
        "topics": [s.id for s in everything if any(row["topic"] == s.id for row in rows)],
        "titles": {s.id: s.title for s in everything},
        "provenance": flat({k: page.run[k] for k in _PROVENANCE if k in page.run}),
        "tables": all_tables(sections),
    }


def render_index(records: Sequence[Mapping[str, Any]]) -> str:
    """Render the index over the studies of an output folder, from their ``run.json`` records."""
    cards = [
        {
            **record["study"],
            "summary": record["summary"],
            "verdicts": bar(record["verdicts"]),
            "notices": _failures(record),
            "beside": "report.md" in record.get("files", {}),
            "top_findings": record["findings"][:_SHOWN_ON_INDEX],
            "more_findings": _more(len(record["findings"]) - _SHOWN_ON_INDEX),
        }
        for record in records
    ]
    return _render("index.html.j2", studies=cards)


@dataclass(frozen=True)
class AnalysisPage:
    """One analysis as a page of its own; ``report`` links to the study's report.

    ``beside`` is the name of the page's files where the others (Markdown, LaTeX tables, figures)
    stand beside it.
    """

    study: Mapping[str, str]
    heading: str
    summary: str
    sections: tuple[Section, ...]
    methods: tuple[str, ...]
    notices: tuple[str, ...]
    run: Mapping[str, Any]
    report: str = ""
    beside: str = ""


def render_analysis(page: AnalysisPage) -> str:
    """Render one analysis as a page of its own."""
    return _render("analysis.html.j2", **analysis_values(page))


def analysis_values(page: AnalysisPage) -> dict[str, Any]:
    """Everything a renderer prints of an analysis."""
    sections = [section_view(s) for s in page.sections]
    return {
        "study": page.study,
        "heading": page.heading,
        "summary": page.summary,
        "sections": sections,
        "methods": page.methods,
        "notices": page.notices,
        "provenance": flat(page.run),
        "report": page.report,
        "beside": page.beside,
        "tables": all_tables(sections),
    }


def _failures(record: Mapping[str, Any]) -> list[str]:
    notices = [f"Not converged: {line}" for line in record["failed_fits"]]
    if record["quick"]:
        notices.insert(0, "Quick run: do not quote its numbers.")
    if record.get("changed"):
        notices.append(f"Written again since this report: {', '.join(record['changed'])}.")
    return notices


def summary(evidence: pd.DataFrame) -> str:
    """Say in one sentence how many printed numbers there are and what became of them."""
    claims = evidence["claim_id"] != ""
    if not claims.any():
        whom = "patients"
        if evidence["estimand"].str.contains("study=").any():
            whom = "several studies"
        elif (evidence["evidence_kind"] == "implied").all():
            whom = "cohorts reconstructed from printed numbers"
        return f"{count(len(evidence), 'quantity', 'quantities')} estimated from {whom}."
    distinct = quantities(evidence)
    with_posterior = int(distinct["posterior_median"].notna().sum())
    beyond = int((~claims).sum())
    text = counted(evidence)
    if with_posterior:
        text += f"; {with_posterior} quantities have a posterior estimate"
    if beyond:
        text += f"; {count(beyond, 'further quantity', 'further quantities')} not printed"
    return text + "."


def _more(left: int) -> str:
    return f"{count(left, 'more finding')}" if left > 0 else ""


@cache
def _assets() -> tuple[str, str]:
    css = (_TEMPLATES / "page.css").read_text("utf-8")
    for theme, dark in (("LIGHT", False), ("DARK", True)):
        css = css.replace(f"/* PALETTE-{theme} */", css_variables(dark))
    scripts = [(_TEMPLATES / name).read_text("utf-8") for name in _SCRIPTS]
    return css, '"use strict";\n' + "".join(scripts)


def _policy(css: str, script: str) -> str:
    def allowed(text: str) -> str:
        return "'sha256-" + b64encode(sha256(text.encode()).digest()).decode() + "'"

    return (
        f"default-src 'none'; style-src {allowed(css)}; script-src {allowed(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(template: str, **values: Any) -> str:
    css, script = _assets()
    return linked(
        _environment()
        .get_template(template)
        .render(
            package_version=__version__,
            css=Markup(css),
            script=Markup(script),
            policy=Markup(_policy(css, script)),
            plot_size=PLOT_SIZE,
            glossary=glossary(),
            **values,
        )
    )
