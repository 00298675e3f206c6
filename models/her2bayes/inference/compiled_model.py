"""nutpie's compiled model with functions that the next process reads from the compile cache.

nutpie wraps the log density and the expansion of a draw in two C functions that close over arrays
under random names, so numba compiles them, with all that they call, in every process. The wrappers
here are source text without such globals: they find the data behind the pointer that the sampler
hands on, in the order in which nutpie lays it out, and are kept under the key of the function that
they call. The arithmetic is that function's, and so are the draws, to the bit.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

_HEAD = """
def {name}({arguments}, user_):
    if {refused}:
        return -1
    try:
        x = carray(x_, ({n_dim},))
        out = carray(out_, ({n_out},))
        user = carray(user_, ({words},), uint64)
        {call}
    except Exception:
        return {failed}
    return 0
"""

_DENSITY = """logp = carray(logp_, ())
        value, gradient = inner(x{data})
        logp[()] = value
        out[...] = gradient
        if not np.all(np.isfinite(out)):
            return 3
        if not np.isfinite(value):
            return 4"""

_EXPANSION = """(values,) = inner(x{data})
        out[...] = values"""


def compiled_model(model: Any) -> Any:
    """Compile a PyMC model for nutpie's sampler, as ``nutpie.compile_pymc_model`` does.

    A model with an operation that PyTensor cannot keep is compiled anew in each process.
    """
    from nutpie import compile_pymc
    from pymc.initial_point import make_initial_point_fn

    start = make_initial_point_fn(
        model=model,
        default_strategy="support_point",
        jitter_rvs=set(model.free_RVs),
        return_transformed=True,
    )
    n_dim, n_expanded, density, expand, initial, shapes, transformed = compile_pymc._make_functions(
        model,
        mode="NUMBA",
        compute_grad=True,
        join_expanded=True,
        pymc_initial_point_fn=compile_pymc._wrap_with_lock(start),
    )
    shared = list(dict.fromkeys([*density.get_shared(), *expand.get_shared()]))
    keys = {variable: f"data_{place}" for place, variable in enumerate(shared)}
    values = {keys[var]: np.array(var.get_value(), order="C", copy=True) for var in shared}
    for value in values.values():
        value.flags.writeable = False
    dims, coords = compile_pymc._prepare_dims_and_coords(model, shapes, transformed)
    layout = _Layout(shared)
    return compile_pymc.CompiledPyMCModel(
        _n_dim=n_dim,
        dims=dims,
        _coords=coords,
        _shapes={name: tuple(shape) for name, _, shape in zip(*shapes, strict=True)},
        compiled_logp_func=layout.density(density, n_dim),
        compiled_expand_func=layout.expansion(expand, n_dim, n_expanded),
        initial_point_func=initial,
        shared_data=values,
        shared_var_keys=keys,
        user_data=compile_pymc.make_user_data(keys, values),
        n_expanded=n_expanded,
        shape_info=shapes,
        logp_func=density,
        expand_func=expand,
        reparameterized_names=transformed,
    )


class _Layout:
    """Where nutpie's record keeps each array: all addresses, then all sizes, then all shapes."""

    def __init__(self, shared: list[Any]) -> None:
        self.places: dict[Any, tuple[int, tuple[int, ...]]] = {}
        self.words = 2 * len(shared)
        for place, variable in enumerate(shared):
            ndim = variable.get_value(borrow=True).ndim
            self.places[variable] = place, tuple(range(self.words, self.words + ndim))
            self.words += ndim

    def density(self, function: Any, n_dim: int) -> Any:
        """C function of the log density and its gradient."""
        from numba import types

        number = types.CPointer(types.double)
        text = _HEAD.format(
            name="density", arguments="dim, x_, out_, logp_", refused=f"dim != {n_dim}",
            n_dim=n_dim, n_out=n_dim, words=self.words, failed=1,
            call=_DENSITY.format(data=self._arrays(function)),
        )  # fmt: skip
        signature = types.int64(types.uint64, number, number, number, types.voidptr)
        return self._compiled("density", text, signature, function)

    def expansion(self, function: Any, n_dim: int, n_expanded: int) -> Any:
        """C function from an unconstrained point to all variables that are kept."""
        from numba import types

        number = types.CPointer(types.double)
        text = _HEAD.format(
            name="expansion", arguments="dim, expanded, x_, out_",
            refused=f"dim != {n_dim} or expanded != {n_expanded}",
            n_dim=n_dim, n_out=n_expanded, words=self.words, failed=-2,
            call=_EXPANSION.format(data=self._arrays(function)),
        )  # fmt: skip
        signature = types.int64(types.uint64, types.uint64, number, number, types.voidptr)
        return self._compiled("expansion", text, signature, function)

    def _arrays(self, function: Any) -> str:
        text = ""
        for variable in function.get_shared():
            place, shape = self.places[variable]
            lengths = "".join(f"int64(user[{word}]), " for word in shape)
            kind = variable.get_value(borrow=True).dtype.name
            text += f", carray(pointer(user[{place}]), ({lengths}), {kind})"
        return text

    @staticmethod
    def _compiled(name: str, text: str, signature: Any, function: Any) -> Any:
        import numba
        import pytensor
        from nutpie.compile_pymc import address_as_void_pointer
        from pytensor.link.numba.cache import CACHED_SRC_FUNCTIONS, compile_numba_function_src

        inner = function.vm.jit_fn
        known = CACHED_SRC_FUNCTIONS.get(inner.py_func)
        kinds = ("float64", "float32", "int64", "int32", "int16", "int8", "uint64", "bool_")
        names = {
            "__name__": __name__, "inner": inner, "np": np, "carray": numba.carray,
            "pointer": address_as_void_pointer,
            **{kind: getattr(np, kind) for kind in kinds}, "bool": np.bool_,
        }  # fmt: skip
        key = known and f"{known} {text} {signature} {pytensor.__version__} {numba.__version__}"
        key = key and sha256(key.encode()).hexdigest()
        wrapper = compile_numba_function_src(text, name, names, cache_key=key)
        return numba.cfunc(signature, cache=key is not None)(wrapper)
