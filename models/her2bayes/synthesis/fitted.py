"""``synthesise``: a question over several studies, printed or of patients, and its fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault
from her2bayes.estimand import Estimand, parse
from her2bayes.inference.fit import fit
from her2bayes.inference.progress import told
from her2bayes.inference.sampling import Sampling, Settings
from her2bayes.inference.store import Store
from her2bayes.synthesis import study_shares, study_transitions
from her2bayes.synthesis.base import About, Synthesis
from her2bayes.synthesis.cells import design, studies_of
from her2bayes.synthesis.effects import TAKEN, effect_rows, fit_effects
from her2bayes.synthesis.pairs import study_pairs
from her2bayes.synthesis.shares import SharesFit
from her2bayes.synthesis.studies import Source, of_table, sources, status_cells
from her2bayes.synthesis.transitions import StudyTransitionsFit

SHARES, TRANSITIONS = "share", "transition"

MANY = 300
"""Logits of rows above which no correlations are learned while adapting: that costs more than it
gives, four times the time for forty studies of 25 centres."""


@told
def synthesise(
    studies: Any,
    estimand: str = SHARES,
    *,
    moderators: str | Iterable[str] = (),
    pairs: str = "",
    reading: str = "",
    readings: Mapping[str, str] | None = None,
    centre: str = "",
    end: str = "",
    influence: bool = False,
    priors: Mapping[str, Prior] | None = None,
    sampling: Sampling | None = None,
    quick: bool = False,
    seed: int | None = None,
    store: str | Path | None = None,
    progress: bool = False,  # read by ``told``
) -> Synthesis:
    """Fit several studies as one model: what holds on average, in each, and in a new one.

    ``studies``: ids (``studies()`` lists them), folders or studies, and patients by name:
    ``{"shi2023": "shi2023", "msk": (patients, {"setting": "metastatic"})}``. For shares also a
    frame with the columns ``study``, ``her2``, ``n``, and where there are any ``level``,
    ``centre``, ``setting``, ``year``.

    ``estimand``: "share" (HER2 classes; every study enters with the classes that it prints),
    "transition" (primary to recurrence; tables printed whole, in coarser classes or in part), or
    an effect such as "hazard_ratio[os ; her2: low vs zero]" or "median[os]", whose posterior is
    computed without sampling. ``moderators``: "setting" and "year" of a study, and one factor whose
    levels studies print ("hr_status"). ``pairs``: which two readings of a patient are meant, for
    transitions; those of different pairs are never pooled. ``reading``: of printed effects, as in
    estimates.csv ("multivariable"); ``readings``: by study, of its transition facts. ``centre``:
    factor of centres; ``end``: "primary" or "recurrence" where patients have readings of both.

    ``influence`` refits shares and transitions without each study, and with other priors on the
    spread between studies, for the report (``fit.influence()`` and ``fit.prior_sensitivity()`` do
    so at any time; of effects they are always there).

    A study that says nothing on the question is left out and named (``fit.studies``).

    Raises ``BadInput`` with everything wrong, before the first draw.

    >>> import her2bayes as hb
    >>> fit = hb.synthesise(["shi2023", "agmt2021"], moderators="hr_status")  # doctest: +SKIP
    >>> fit.draws("share[her2=low | hr_status=positive, study=new]")  # doctest: +SKIP
    """
    settings = Settings(**({"seed": seed} if seed is not None else {}), quick=quick)
    if sampling is not None and (quick or seed is not None):
        raise BadInput(Fault("sampling and quick or seed", remedy="give the one or the others"))
    how = sampling or settings.sampling
    kept = Store(Path(store)) if store is not None else None
    made = _made(studies, _question(estimand), moderators, pairs, reading, readings, centre, end,
                 priors, how, kept)  # fmt: skip
    return made.checked() if influence and not made.refitted else made


def _made(
    studies: Any, asked: Estimand, moderators: str | Iterable[str], pairs: str, reading: str,
    readings: Mapping[str, str] | None, centre: str, end: str, priors: Mapping[str, Prior] | None,
    how: Sampling, kept: Store | None,
) -> Synthesis:  # fmt: skip
    if isinstance(studies, pd.DataFrame):
        if asked.kind != SHARES:
            remedy = "name studies, or ask for 'share'"
            raise BadInput(
                Fault("a table of counts has shares only", value=str(asked), remedy=remedy)
            )
        return _shares(of_table(studies), priors, how, kept)
    given = sources(studies)
    if asked.kind == SHARES:
        return _shares(status_cells(given, moderators, centre=centre, end=end), priors, how, kept)
    if asked.kind == TRANSITIONS:
        return _transitions(given, moderators, pairs, readings, priors, how, kept)
    data = effect_rows(given, asked, moderators, reading=reading)
    rows = {name: {"rows": int((data["study"] == name).sum()),
                   "setting": str(data["setting"].values[data["study"].values == name][0])}
            for name in studies_of(data)}  # fmt: skip
    about = About(str(asked), rows, data.attrs["left_out"], data.attrs["within"],
                  tuple(data.attrs["between"]), reading=reading)  # fmt: skip
    return fit_effects(data, about, priors, how)


def _question(text: str) -> Estimand:
    if text in (SHARES, TRANSITIONS):
        return Estimand(text)
    asked = parse(text)
    if asked.kind in (SHARES, TRANSITIONS):
        return Estimand(asked.kind)
    if asked.kind not in TAKEN:
        allowed = ", ".join((SHARES, TRANSITIONS, *TAKEN))
        raise BadInput(Fault("no synthesis of this kind", value=text, allowed=allowed))
    return asked


def _shares(
    cells: xr.Dataset, priors: Mapping[str, Prior] | None, sampling: Sampling, store: Store | None
) -> SharesFit:
    used = complete(priors, study_shares.DEFAULT_PRIORS, same_family=True)
    data = design(cells)
    if data.sizes["row"] * data.sizes["axis"] > MANY:
        sampling = replace(sampling, adaptation="diag")
    done = fit(study_shares.build, data, priors=used, sampling=sampling, store=store)
    for name, needed in (("slope_sd", "contrast"), ("centre_sd", "centre_of")):
        used = used if needed in data else {k: v for k, v in used.items() if k != name}
    said = {}
    for name in studies_of(cells):
        own = cells.isel(row=cells["study"].values == name)
        printed = own["printed"].any("row").values
        said[name] = {
            "patients": int(own["counts"].sum()),
            "classes": ", ".join(map(str, own["reading"].values[printed])),
            "setting": str(own["setting"].values[0]),
            "rows": own.sizes["row"],
        }
    about = About("HER2 status", said, cells.attrs["left_out"], cells.attrs["within"],
                  tuple(cells.attrs["between"]))  # fmt: skip
    return SharesFit(about, done, sampling, used, cells)


def _transitions(
    given: tuple[Source, ...],
    moderators: str | Iterable[str],
    pairs: str,
    readings: Mapping[str, str] | None,
    priors: Mapping[str, Prior] | None,
    sampling: Sampling,
    store: Store | None,
) -> StudyTransitionsFit:
    used = complete(priors, study_transitions.DEFAULT_PRIORS, same_family=True)
    found = study_pairs(given, moderators, pairs=pairs, readings=readings)
    done = fit(study_transitions.build, dict(found.data), priors=used, sampling=sampling,
               store=store)  # fmt: skip
    if not found.within:
        used = {name: one for name, one in used.items() if name != "stratum_sd"}
    latent = set(map(str, found.data["tables"]["stratum"].values)) if "tables" in found.data else {}
    said = {name: {"pairs": n, "table": "printed in part" if name in latent else "known"}
            for name, n in found.patients.items()}  # fmt: skip
    kind = pairs or next((str(one.meta.get("pairs", "")) for one in given if one.name in said), "")
    about = About("Change of HER2 class" + (f", {kind}" if kind else ""), said, found.left_out,
                  found.within, pairs=kind)  # fmt: skip
    return StudyTransitionsFit(about, done, sampling, used, found.data)
