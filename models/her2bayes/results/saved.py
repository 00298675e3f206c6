"""A fitted analysis as one file, and back: checked to be what it says it is."""

from __future__ import annotations

import io
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from her2bayes.errors import BadInput, Fault
from her2bayes.files import publish

if TYPE_CHECKING:
    from her2bayes.results.fitted import Fitted

FAMILIES = {
    "distribution": "her2bayes.distribution.fitted",
    "transition": "her2bayes.transition.fitted",
    "survival": "her2bayes.survival.fitted",
    "rates": "her2bayes.rates.fitted",
    "cohorts": "her2bayes.cohorts.fitted",
}


def save(fit: Fitted, file: Path) -> Path:
    """Write ``fit`` to a NetCDF file, whole or not at all."""
    publish(file.parent, {file.name: content(fit)})
    return file


def content(fit: Fitted) -> bytes:
    """Everything of a fit as the bytes of its file."""
    tree = fit.packed()
    tree.attrs["her2bayes"] = json.dumps(
        {"family": fit.family, "module": type(fit).__module__, "kind": type(fit).__name__,
         "fit_id": fit.fit_id}
    )  # fmt: skip
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def load_fit(file: str | Path) -> Fitted:
    """Read what ``save`` wrote. Raises ``BadInput`` for another file, or a fit that was changed."""
    import xarray as xr

    path = Path(file)
    try:
        tree = xr.load_datatree(io.BytesIO(path.read_bytes()), engine="h5netcdf")
        said = json.loads(tree.attrs["her2bayes"])
    except (OSError, KeyError, ValueError) as error:
        remedy = "give a file that fit.save() wrote"
        raise BadInput(Fault("no saved fit", file=path, remedy=remedy)) from error
    module = import_module(FAMILIES[said["family"]])
    fit: Fitted = getattr(module, said["kind"]).unpacked(tree)
    if fit.fit_id != said["fit_id"]:
        problem = f"the file says fit {said['fit_id']}, its contents are fit {fit.fit_id}"
        raise BadInput(Fault(problem, file=path, remedy="fit again, or take the file as saved"))
    return fit
