"""Fitted transitions as one tree of groups, and back: contracts, tables of rows, every fit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd
import xarray as xr

from her2bayes.bayes.prior import prior
from her2bayes.inference.fit import Fit
from her2bayes.transition import cohort, paper
from her2bayes.transition.assay_error import DEFAULT, AssayResult, true_matrices
from her2bayes.transition.cohort import CohortTransitions, Pairs
from her2bayes.transition.facts import table_set
from her2bayes.transition.table_fit import RowPrior, TableFit


def pack_pairs(result: CohortTransitions) -> xr.DataTree:
    """Counts, tables of rows and the trees of all fits; no patients."""
    pairs, read = result.pairs, result.assay
    data = {"overall": pairs.overall}
    data |= {} if pairs.crossed is None else {"crossed": pairs.crossed}
    data |= {f"alone{k}": one for k, one in enumerate(pairs.alone.values())}
    data |= {f"settled{k}": one for k, one in enumerate(pairs.settled.values())}
    said = {
        "pairs": {
            "id": pairs.id, "title": pairs.title, "by": pairs.by, "alone": list(pairs.alone),
            "settled": list(pairs.settled), "source": dict(pairs.source),
            "remarks": pairs.remarks, "patients": pairs.patients, "digest": pairs.digest,
            "flow": None if pairs.flow is None else _written(pairs.flow),
        },
        "estimates": _written(result.estimates),
        "classical": _written(result.classical),
        "sensitivity": None if read is None else _written(read.sensitivity),
        "tipping": None if read is None else _written(read.tipping),
    }  # fmt: skip
    return _packed(said, data, result.fits)


def unpack_pairs(tree: xr.DataTree) -> CohortTransitions:
    """Make the object of a ``packed`` tree; nothing is sampled."""
    said, data, fits = _unpacked(tree)
    told = said["pairs"]
    pairs = Pairs(
        id=told["id"], title=told["title"], overall=data["overall"], by=tuple(told["by"]),
        crossed=data.get("crossed"),
        alone={name: data[f"alone{k}"] for k, name in enumerate(told["alone"])},
        settled={name: data[f"settled{k}"] for k, name in enumerate(told["settled"])},
        source=told["source"], remarks=tuple(told["remarks"]), patients=told["patients"],
        flow=None if told["flow"] is None else _read(told["flow"]), digest=told["digest"],
    )  # fmt: skip
    matrices = cohort.matrices_of(pairs, fits)
    read = None
    if said["tipping"] is not None:
        behind = {name.removeprefix(cohort.TRUE): fit for name, fit in fits.items()
                  if name.startswith(cohort.TRUE)}  # fmt: skip
        true = tuple(true_matrices(behind[DEFAULT], pairs.overall, DEFAULT))
        read = AssayResult(behind, _read(said["sensitivity"]), _read(said["tipping"]), (), true)
    estimates, classical = _read(said["estimates"]), _read(said["classical"])
    return CohortTransitions(pairs, tuple(matrices), estimates, classical, fits, read)


def pack_facts(one: paper.Result, evidence: pd.DataFrame, about: Mapping[str, Any]) -> xr.DataTree:
    """Facts, tables of rows and the trees of all fits."""
    said = {
        **about, "study": one.study, "pairs": one.pairs,
        "labels": dict(one.labels), "notes": one.notes, "classes": one.classes,
        "impossible": [[*map(list, (i.factors, i.facts)), i.reading]
                       for i in one.latent.impossible],
        "analyses": [
            {"factors": a.factors, "reading": a.reading, "row_prior": a.row_prior,
             "rows": a.choice.rows,
             "priors": [[name, p.distribution, dict(p.parameters)]
                        for name, p in a.choice.priors]}
            for a in one.latent.analyses
        ],
        **{name: _written(getattr(one, name))
           for name in ("facts", "estimates", "classical", "tests")},
        "evidence": _written(evidence),
        "tipping": None if one.tipping is None else _written(one.tipping),
    }  # fmt: skip
    return _packed(said, {}, one.fits)


def unpack_facts(tree: xr.DataTree) -> tuple[paper.Result, pd.DataFrame, dict[str, Any]]:
    """Make the object of a ``packed`` tree; nothing is sampled."""
    said, _, plain = _unpacked(tree)
    fits = {name: TableFit(one.tree, one.provenance) for name, one in plain.items()}
    facts, classes = _read(said["facts"]), tuple(said["classes"])
    analyses = []
    for one, fitted in zip(said["analyses"], fits.values(), strict=False):
        tables = table_set(facts, classes, one["factors"], one["reading"])
        priors = tuple((name, prior(law, **_tuples(p))) for name, law, p in one["priors"])
        choice = RowPrior(one["rows"], priors)
        analyses.append(
            paper.TableAnalysis(tuple(one["factors"]), one["row_prior"], tables, fitted, choice)
        )
    impossible = tuple(
        paper.Impossible(tuple(factors), reading, tuple(names))
        for factors, names, reading in said["impossible"]
    )
    latent = paper.LatentTransitions(tuple(analyses), impossible)
    main = paper.main_of(latent)
    result = paper.Result(
        said["study"], said["labels"], facts, tuple(said["notes"]), classes, latent, main,
        tuple(paper.named_matrices(latent, main)), _read(said["estimates"]),
        _read(said["classical"]), _read(said["tests"]), fits,
        None if said["tipping"] is None else _read(said["tipping"]),
        fits.get(paper.TRUE_FIT), said["pairs"],
    )  # fmt: skip
    return result, _read(said["evidence"]), said


def _written(table: pd.DataFrame) -> dict[str, Any]:
    """A table as JSON can hold it, every digit kept."""
    plain = table.astype(object).where(table.notna(), None)
    return {"columns": list(table.columns), "rows": plain.to_numpy().tolist(),
            "numbers": [str(name) for name in table.select_dtypes("number").columns]}  # fmt: skip


def _read(said: Mapping[str, Any]) -> pd.DataFrame:
    table = pd.DataFrame(said["rows"], columns=said["columns"])
    return table.astype(dict.fromkeys(said["numbers"], float))


def _tuples(parameters: Mapping[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in parameters.items()}


def _packed(
    said: Mapping[str, Any], data: Mapping[str, xr.Dataset], fits: Mapping[str, Fit]
) -> xr.DataTree:
    text = json.dumps({**said, "fits": list(fits)}, default=str)
    groups = {"/": xr.Dataset({"said": ((), text)})}
    for name, one in data.items():
        attrs = json.dumps(dict(one.attrs))
        groups[f"/data/{name}"] = one.drop_attrs(deep=False).assign(attrs=((), attrs))
    for place, fitted in enumerate(fits.values()):
        groups[f"/fit{place}"] = xr.Dataset({"provenance": ((), json.dumps(fitted.provenance))})
        groups |= {f"/fit{place}/{name}": node.to_dataset()
                   for name, node in fitted.tree.children.items()}  # fmt: skip
    return xr.DataTree.from_dict(groups)


def _unpacked(
    tree: xr.DataTree,
) -> tuple[dict[str, Any], dict[str, xr.Dataset], dict[str, Fit]]:
    said = json.loads(str(tree["said"].item()))
    data = {}
    for name, node in tree["data"].children.items() if "data" in tree.children else ():
        one = node.to_dataset()
        attrs = json.loads(str(one["attrs"].item()))
        data[name] = one.drop_vars("attrs").assign_attrs(attrs)
    fits = {}
    for place, name in enumerate(said["fits"]):
        node = tree[f"fit{place}"]
        provenance = json.loads(str(node["provenance"].item()))
        groups = {n: one.to_dataset(inherit=False) for n, one in node.children.items()}
        kept = xr.DataTree.from_dict(groups)
        kept.attrs["provenance"] = json.dumps(provenance)
        fits[name] = Fit(kept, provenance)
    return said, data, fits
