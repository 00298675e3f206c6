"""A fitted analysis as one file, and back: checked to be what it says it is."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr

from her2bayes.errors import BadInput, Fault
from her2bayes.files import publish
from her2bayes.inference.digest import data_digest, key

if TYPE_CHECKING:
    from her2bayes.results.fitted import Fitted

ROOMS = ("distribution", "transition", "survival", "rates", "cohorts")
ATTRIBUTE = "her2bayes"
IDENTITY = ("model", "package", "source", "engine", "data", "priors", "options", "sampling",
            "versions", "flags")  # fmt: skip
"""What the id of a sampled fit is made of (``inference.fit``)."""


def save(fit: Fitted, file: Path) -> Path:
    """Write ``fit`` to a NetCDF file, whole or not at all."""
    publish(file.parent, {file.name: content(fit)})
    return file


def content(fit: Fitted) -> bytes:
    """Everything of a fit as the bytes of its file."""
    tree = fit.packed()
    # hashed as it will be read: NetCDF has fewer types than xarray
    kept = xr.load_datatree(io.BytesIO(bytes(tree.to_netcdf(engine="h5netcdf"))), engine="h5netcdf")
    said = {
        "family": fit.family,
        "module": type(fit).__module__,
        "kind": type(fit).__name__,
        "fit_id": fit.fit_id,
        "content": tree_digest(kept),
    }
    tree.attrs[ATTRIBUTE] = json.dumps(said)
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def tree_digest(tree: xr.DataTree) -> str:
    """Hash the values, labels and attributes of every group."""
    groups: dict[str, Any] = {}
    for node in tree.subtree:
        attributes = {k: v for k, v in node.attrs.items() if k != ATTRIBUTE}
        groups[node.path] = {
            "data": node.to_dataset(inherit=False),
            "attributes": json.dumps(attributes, sort_keys=True, default=str),
        }
    return data_digest(groups)


def load_fit(file: str | Path) -> Fitted:
    """Read what ``fit.save(file)`` wrote; nothing is sampled.

    The id of each fit is computed again from what it is made of, and everything in the file from
    its content. Raises ``BadInput`` for another file, and for one that was changed.

    >>> import her2bayes as hb
    >>> fit = hb.load_fit("results/fits/survival-0123456789ab.nc")  # doctest: +SKIP
    """
    path = Path(file)
    try:
        tree = xr.load_datatree(io.BytesIO(path.read_bytes()), engine="h5netcdf")
        said = json.loads(tree.attrs[ATTRIBUTE])
        kind = _kind(said)
    except (OSError, KeyError, ValueError, AttributeError, ImportError) as error:
        remedy = "give a file that fit.save() wrote"
        raise BadInput(Fault("no saved fit", file=path, remedy=remedy)) from error
    remedy = "take the file as it was saved, or fit again"
    if tree_digest(tree) != said["content"]:
        raise BadInput(Fault("the file was changed after it was saved", path, remedy=remedy))
    del tree.attrs[ATTRIBUTE]
    fit: Fitted = kind.unpacked(tree)
    wrong = [name for name, one in fit.fits.items() if not _same_id(one.provenance)]
    if wrong or fit.fit_id != said["fit_id"]:
        problem = f"the file says fit {said['fit_id']}, its contents are another ({fit.fit_id})"
        raise BadInput(Fault(problem, path, value=", ".join(wrong) or None, remedy=remedy))
    return fit


def _kind(said: Mapping[str, str]) -> Any:
    """Class that was saved, from the rooms of this package only."""
    module = said["module"]
    if said["family"] not in ROOMS or not module.startswith(f"her2bayes.{said['family']}."):
        raise ValueError(module)
    return getattr(import_module(module), said["kind"])


def _same_id(provenance: Mapping[str, Any]) -> bool:
    """Whether a fit's id is that of what it is made of; a computed posterior has no such list."""
    if not set(IDENTITY) <= set(provenance):
        return True
    return key({name: provenance[name] for name in IDENTITY}) == str(provenance["fit_id"])
