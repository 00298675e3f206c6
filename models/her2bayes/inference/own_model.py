"""A user's own model: a file with ``DEFAULT_PRIORS`` and ``build``, checked before it is sampled.

    DEFAULT_PRIORS = {"slope": prior("Normal", mu=0.0, sigma=0.5, means="odds ratio 1, ...")}

    def build(data, priors): ...                      # a PyMC model of the family's contract
    def draws(posterior, data, estimands): ...        # optional: estimand -> (chain, draw)

Everything wrong is told in one ``BadInput`` with the line of the file it comes from.

Model files by name: a model is a file named after it, with ``DEFAULT_PRIORS`` and ``build``.
"""

from __future__ import annotations

import ast
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from her2bayes.bayes.prior import Prior, complete
from her2bayes.errors import BadInput, Fault, raise_if

if TYPE_CHECKING:
    import xarray as xr

    from her2bayes.estimand import Estimand


PACKAGE = Path(__file__).resolve().parents[1]

COMPUTED = {"borrowing": "rates", "cohort_shares": "rates", "rate_exact": "rates"}
"""Rooms of models without a graph: their names are those of fits, and other rooms may use them."""


@cache
def module_of(name: str) -> str | None:
    """Dotted name of the module of the model ``name``; ``None`` where there is none.

    A model without a graph (quadrature) stands in ``COMPUTED``, or is the only file of its name.
    """
    if name in COMPUTED:
        return f"{PACKAGE.name}.{COMPUTED[name]}.{name}"
    files = sorted(PACKAGE.rglob(f"{name}.py"))
    models = [f for f in files if len(files) == 1 or "\ndef build(" in f.read_text("utf-8")]
    if not models:
        return None
    return ".".join((PACKAGE.name, *models[0].relative_to(PACKAGE).with_suffix("").parts))


_OWN = "her2bayes_own"  # modules of users' files are named after it
PRIOR_DRAWS = 20
SEED = 1

Draws = Callable[["xr.Dataset", Any, "list[Estimand]"], "Mapping[Estimand, xr.DataArray]"]


@dataclass(frozen=True)
class Model:
    """A model of the user's: ``build`` and ``draws`` of its file, ``name`` the file's name."""

    name: str
    build: Callable[..., Any]
    defaults: Mapping[str, Prior]
    draws: Draws | None
    file: Path

    @property
    def equations(self) -> str:
        """What the file says of itself: its docstring."""
        return ast.get_docstring(ast.parse(self.file.read_text("utf-8"))) or ""


def is_own(given: object) -> bool:
    """Tell whether ``model=`` was given a module or a file rather than the name of a model."""
    return isinstance(given, ModuleType | Path) or (
        isinstance(given, str) and given.endswith(".py")
    )


def is_of_user(build: Callable[..., Any]) -> bool:
    """Tell whether a model's ``build`` stands in a file that ``own_model`` has read."""
    return build.__module__.partition(".")[0] == _OWN


def own_model(given: ModuleType | str | Path) -> Model:
    """Read a user's model from a file, or from the file of a module.

    The file is read anew, so that the fit is of the text as it stands; a name that ships with the
    package is refused. Raises ``BadInput`` with what is missing.
    """
    if isinstance(given, ModuleType):
        if not getattr(given, "__file__", None):
            remedy = "write the model into a file and give its path"
            raise BadInput(Fault("the module has no file", value=given.__name__, remedy=remedy))
        given = str(given.__file__)
    path = Path(given).expanduser().resolve()
    if not path.is_file():
        raise BadInput(Fault("there is no such model file", file=path))
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier():
        allowed = "a name of letters, digits and _ that ends in .py"
        raise BadInput(Fault("not a model file", file=path, allowed=allowed))
    if module_of(name):
        remedy = f"rename the file, e.g. to my_{name}.py"
        raise BadInput(Fault(f"a model named '{name}' ships", file=path, remedy=remedy))
    module = _loaded(path)
    raise_if(list(_faults(module, path)))
    return Model(name, module.build, module.DEFAULT_PRIORS, getattr(module, "draws", None), path)


def _loaded(path: Path) -> ModuleType:
    name = f"{_OWN}.{path.stem}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BadInput(Fault("not a model file", file=path))
    module = module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module  # dataclasses look their module up
    sys.path.insert(0, str(path.parent))  # for files beside it
    try:
        with _told(path, "the model file cannot be read"):
            exec(compile(path.read_text("utf-8"), str(path), "exec"), module.__dict__)  # noqa: S102
    except BadInput:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    finally:
        sys.path.remove(str(path.parent))
    return module


def _faults(module: ModuleType, path: Path) -> Iterator[Fault]:
    priors = getattr(module, "DEFAULT_PRIORS", None)
    if not isinstance(priors, Mapping) or not all(isinstance(v, Prior) for v in priors.values()):
        allowed = 'DEFAULT_PRIORS = {"name": prior("Normal", mu=0.0, sigma=1.0, means="...")}'
        yield Fault("the model file has no DEFAULT_PRIORS of priors", file=path, allowed=allowed)
    forms = (
        ("build", 2, "def build(data, priors)"),
        ("draws", 3, "def draws(posterior, data, estimands)"),
    )
    for name, takes, form in forms:
        function = getattr(module, name, None)
        if function is None and name == "draws":
            continue
        if not inspect.isfunction(function) or function.__module__ != module.__name__:
            problem = f"the model file does not define the function {name}"
            yield Fault(problem, file=path, allowed=form)
        elif _positional(function) < takes:
            line = function.__code__.co_firstlineno
            problem = f"{name} takes too few arguments"
            yield Fault(problem, file=path, row=line, allowed=form)


def _positional(function: Callable[..., Any]) -> float:
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return np.inf
    return sum(k.name.startswith("POSITIONAL") for k in kinds)


@contextmanager
def _told(path: Path, problem: str, remedy: str | None = None) -> Iterator[None]:
    """Turn what goes wrong in a user's code into ``BadInput`` with the last line of their file."""
    try:
        yield
    except BadInput:
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(path)]
        if isinstance(error, SyntaxError) and error.filename == str(path):
            lines.append(error.lineno)
        said = f"{problem}: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        row = lines[-1] if lines else None
        raise BadInput(Fault(said, file=path, row=row, remedy=remedy)) from error


def check(
    build: Callable[..., Any],
    data: Any,
    priors: Mapping[str, Prior] | None = None,
    options: Mapping[str, Any] | None = None,
) -> None:
    """Try what a fit will do, on a few prior draws, in seconds and without compiling.

    The model builds, NUTS can sample it, its log density and gradient are finite at the initial
    point and at prior draws, and the prior predictive draws have the shape of the data. Raises
    ``BadInput``, each fault with the file, the variable, what is allowed and what to do.
    """
    from her2bayes.inference.structure import compiler_flags

    path = Path(inspect.getsourcefile(build) or "")
    priors = complete(priors, build.__globals__.get("DEFAULT_PRIORS", {}))
    with compiler_flags(), np.errstate(all="ignore"):
        with _told(path, "build fails"):
            model = build(data, priors, **dict(options or {}))
        raise_if(list(_not_sampled(model, path)))
        with _told(path, "the log density has no gradient"):
            faults = list(_not_finite_at_start(model, path))
        raise_if(faults)
        raise_if(list(_not_finite_before_data(model, path)))


def _not_sampled(model: Any, path: Path) -> Iterator[Fault]:
    import pymc as pm

    if not isinstance(model, pm.Model):
        found = type(model).__name__
        yield Fault("build returns no model", file=path, value=found, allowed="a pymc.Model")
        return
    if not model.observed_RVs and not model.potentials:
        allowed = "a variable with observed=..."
        yield Fault("the model observes nothing", file=path, allowed=allowed)
    if not model.free_RVs:
        yield Fault("the model has no parameters", file=path, allowed="at least one free variable")
    for variable in model.discrete_value_vars:
        yield Fault(
            "a parameter is discrete",
            file=path,
            value=model.values_to_rvs[variable].name,
            allowed="continuous parameters, which NUTS samples",
            remedy="sum it out of the likelihood",
        )


def _not_finite_at_start(model: Any, path: Path) -> Iterator[Fault]:
    with _told(path, "the model has no initial point"):
        start = model.initial_point()
    remedy = "check the data against the support of its distribution, and its parameters' ranges"
    variables = [*model.basic_RVs, *model.potentials]
    found = model.compile_logp(sum=False, mode="FAST_COMPILE")(start)
    bad = [v.name for v, x in zip(variables, found, strict=True) if not np.isfinite(x).all()]
    for name in bad:
        problem = f"the log density of '{name}' is not finite at the initial point"
        yield Fault(problem, file=path, allowed="finite", remedy=remedy)
    if bad:
        return
    gradient = model.compile_dlogp(mode="FAST_COMPILE")(start)
    yield from _no_gradient(model, start, gradient, "the initial point", path)


def _no_gradient(
    model: Any, point: Mapping[str, Any], gradient: np.ndarray, place: str, path: Path
) -> Iterator[Fault]:
    at = 0
    for variable in model.continuous_value_vars:
        size = np.size(point[variable.name])
        if not np.isfinite(gradient[at : at + size]).all():
            yield Fault(
                f"the gradient by '{model.values_to_rvs[variable].name}' is not finite at {place}",
                file=path,
                allowed="finite",
                remedy="use functions that are smooth where the parameter can be",
            )
        at += size


def _not_finite_before_data(model: Any, path: Path) -> Iterator[Fault]:
    """Prior draws: shapes, finite densities of most of them, gradients where densities are."""
    import pymc as pm

    from her2bayes.inference import densities

    with _told(path, "no draws from the prior"):
        tree = pm.sample_prior_predictive(
            PRIOR_DRAWS, model=model, random_seed=SEED, compile_kwargs={"mode": "FAST_COMPILE"}
        )
    prior = tree["prior"].to_dataset()
    for rv in model.observed_RVs:
        drawn = tree["prior_predictive"][rv.name].shape[2:]
        observed = np.shape(model.rvs_to_values[rv].eval())
        if drawn != observed:
            allowed = f"the shape of the data, {observed}"
            problem = f"prior predictive draws of '{rv.name}' have another shape than the data"
            yield Fault(problem, file=path, value=drawn, allowed=allowed)
    with _told(path, "log densities of many draws cannot be had at once"):
        logs = [d for group in densities.log_densities(model, prior) for d in group.items()]
    finite = np.ones(PRIOR_DRAWS, dtype=bool)
    for name, values in logs:
        good = np.isfinite(values.values.reshape(PRIOR_DRAWS, -1)).all(axis=1)
        finite &= good
        if np.isnan(values.values).any() or good.mean() < 0.5:
            yield Fault(
                f"the log density of '{name}' is not finite at {int((~good).sum())} of "
                f"{PRIOR_DRAWS} draws from the prior",
                file=path,
                allowed="finite at half of them or more, never undefined",
                remedy="narrow the priors to values that the likelihood can take",
            )
    if finite.any():
        yield from _rough(model, prior.isel(chain=0), int(np.argmax(finite)), path)


def _rough(model: Any, prior: Any, place: int, path: Path) -> Iterator[Fault]:
    """Gradient on the natural scale at one draw of the prior."""
    from pymc.model.transform.conditioning import remove_value_transforms

    plain = remove_value_transforms(model)
    function = plain.compile_dlogp(mode="FAST_COMPILE")
    point = {plain.rvs_to_values[rv].name: prior[rv.name].values[place] for rv in plain.free_RVs}
    yield from _no_gradient(plain, point, function(point), "a draw from the prior", path)
