"""What is written for LLVM says what PyTensor's own Python mode says, operation by operation."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytensor.tensor as pt
import pytest

from her2bayes.inference import engine, lowering
from her2bayes.inference.engine import compiled_model
from her2bayes.inference.structure import compiler_flags

X = np.array([0.31, -1.2, 0.0, 2.5, -0.7, 40.0, -45.0, 20.0, 1.0, -3.3, 0.9, 5.5])
SQUARE = X[:9].reshape(3, 3)


def model_of(log_density: Callable[..., Any], **data: np.ndarray) -> Any:
    """Model whose log density is a function of a flat vector of 12 and of data."""
    import pymc as pm

    with pm.Model() as model:
        x = pm.Flat("x", shape=len(X))
        given = {name: pm.Data(name, value) for name, value in data.items()}
        pm.Potential("density", log_density(x, **given))
    return model


def compiled_value(model: Any, point: np.ndarray) -> tuple[int, float, np.ndarray]:
    """What the compiled function returns at a point: its code, log density and gradient."""
    sampler = compiled_model(model)
    assert isinstance(sampler.compiled_logp_func, engine._Function), "not lowered"
    gradient, value = np.full(len(point), np.nan), np.full(1, np.nan)
    number = ctypes.POINTER(ctypes.c_double)
    kind = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_uint64, *[number] * 3, ctypes.c_void_p)
    pointers = [array.ctypes.data_as(number) for array in (point, gradient, value)]
    code = kind(sampler.compiled_logp_func.address)(
        len(point), *pointers, sampler.user_data.ctypes.data
    )
    return code, float(value[0]), gradient


def agree(log_density: Callable[..., Any], point: np.ndarray = X, **data: np.ndarray) -> None:
    """The function and its gradient are those of PyTensor's Python mode, at a point and near it."""
    with compiler_flags():
        model = model_of(log_density, **data)
        reference = model.logp_dlogp_function(mode="FAST_COMPILE", ravel_inputs=True)
        reference.set_extra_values({})
        for at in (point, point * 0.9 + 0.013):
            expected, slope = reference(at)
            code, value, gradient = compiled_value(model, at)
            assert code == 0
            assert value == pytest.approx(float(expected), rel=1e-12, abs=1e-12)
            np.testing.assert_allclose(gradient, slope, rtol=1e-11, atol=1e-12)


SMALL = X / 20  # between -2.25 and 2
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "exp": pt.exp,
    "expm1": pt.expm1,
    "log": lambda x: pt.log(x**2 + 1),
    "log2": lambda x: pt.log2(x**2 + 1),
    "log1p": lambda x: pt.log1p(x**2),
    "log1mexp": lambda x: pt.log1mexp(-(x**2) - 0.01),
    "sqrt": lambda x: pt.sqrt(x**2 + 1),
    "sin": pt.sin,
    "cos": pt.cos,
    "tan": pt.tan,
    "tanh": pt.tanh,
    "sinh": pt.sinh,
    "cosh": pt.cosh,
    "arctan": pt.arctan,
    "arcsinh": pt.arcsinh,
    "arcsin": lambda x: pt.arcsin(x / 4),
    "arctan2": lambda x: pt.arctan2(x, x**2 + 1),
    "erf": pt.erf,
    "erfc": pt.erfc,
    "erfcx": pt.erfcx,
    "sigmoid": pt.sigmoid,
    "softplus": pt.softplus,
    "gammaln": lambda x: pt.gammaln(x**2 + 0.5),
    "power": lambda x: (x**2 + 0.1) ** 1.7,
    "cube": lambda x: x**3,
    "inverse": lambda x: 1 / (x + 7),
    "absolute": pt.abs,
    "sign": lambda x: pt.sign(x) * x,
    "clip": lambda x: pt.clip(x, -0.5, 0.6),
    "floor": lambda x: pt.floor(x) + x,
    "ceil": lambda x: pt.ceil(x) + x,
    "round": lambda x: pt.round(x) + x,
    "maximum": lambda x: pt.maximum(x, 0.2),
    "minimum": lambda x: pt.minimum(x, x[::-1]),
    "where": lambda x: pt.where(x > 0.2, x**2, pt.exp(x)),
    "i0": lambda x: pt.i0(x),
    "mod": lambda x: x % 0.7,
    "logic": lambda x: x * ((x > 0) & ~(x < 1) | pt.eq(x, 0) | (x <= -2) ^ (x >= -1)),
    "isnan": lambda x: pt.where(pt.isnan(pt.log(x)), x, 2 * x),
    "float32": lambda x: (x.astype("float32") * 2).astype("float64"),
    "isinf": lambda x: pt.where(pt.isinf(1 / (x - x)), x, 3 * x),
    "betaln": lambda x: pt.gammaln(x**2 + 1) - pt.gammaln(x**2 + 3),
}


@pytest.mark.parametrize("name", NUMBERS)
def test_operations_on_numbers(name: str) -> None:
    agree(lambda x: NUMBERS[name](x).sum(), SMALL)


@pytest.mark.parametrize("name", ["sigmoid", "softplus", "erfc", "exp"])
def test_far_from_zero(name: str) -> None:
    agree(lambda x: NUMBERS[name](-pt.abs(x)).sum())
    agree(lambda x: pt.log1p(NUMBERS[name](x / 10)).sum())


def matrix(x: Any) -> Any:
    return x.reshape((3, 4))


ARRAYS: dict[str, Callable[[Any], Any]] = {
    "sums": lambda x: (matrix(x).sum(0) ** 2).sum() + (matrix(x).sum(1) ** 3).sum(),
    "two axes": lambda x: (x.reshape((2, 3, 2)).sum((0, 2)) ** 2).sum(),
    "product": lambda x: matrix(x + 3).prod(1).sum(),
    "largest": lambda x: (matrix(x).max(0) ** 2).sum() + matrix(x).min(1).sum() + x.max(),
    "mean": lambda x: (matrix(x).mean(0) ** 2).sum() + x.var(),
    "every": lambda x: x.sum() * pt.all(x > -50) + x[0] * pt.any(x > 50),
    "log of a sum": lambda x: pt.logsumexp(matrix(x), axis=1).sum() + pt.logsumexp(x),
    "softmax": lambda x: (
        (pt.special.softmax(matrix(x), axis=1) ** 2).sum()
        + (pt.special.softmax(matrix(x), axis=0) ** 2).sum()
        + (pt.special.softmax(x) ** 2).sum()
    ),
    "log softmax": lambda x: (
        pt.special.log_softmax(matrix(x), axis=1)[:, 1].sum()
        + pt.special.log_softmax(matrix(x), axis=0)[1].sum()
    ),
    "slices": lambda x: (x[::-1] * x)[1:9:3].sum() + x[-2] ** 2 + (matrix(x)[1, ::-2] ** 2).sum(),
    "transposed": lambda x: (
        (matrix(x).T.reshape((2, 6))[0] ** 2).sum() + (matrix(x).T * 2).ravel()[3]
    ),
    "broadcast": lambda x: (matrix(x)[:, None, :] * matrix(x)[None, :, :]).sum(),
    "assigned": lambda x: (pt.set_subtensor(matrix(x)[1, 1:], x[:3]) ** 2).sum(),
    "increased": lambda x: (pt.inc_subtensor(matrix(x)[:, 2], x[:3] * x[3:6]) ** 2).sum(),
    "from zeros": lambda x: (pt.zeros((3, 4))[1:].inc(matrix(x)[:2] * 2) ** 2).sum(),
    "joined": lambda x: (pt.concatenate([x[:3], x[2:5] * 2, x[7:]]) ** 2).sum(),
    "stacked": lambda x: (pt.stack([x[0], x[3] * x[4], x[5]]) ** 3).sum(),
    "split": lambda x: (
        pt.split(x, [3, 4, 5])[1].prod() + (pt.split(matrix(x), [1, 3], axis=1)[1] ** 2).sum()
    ),
    "running": lambda x: (
        (pt.cumsum(x) ** 2).sum()
        + (pt.cumsum(matrix(x), axis=0) ** 2).sum()
        + pt.cumprod(matrix(x + 3), axis=1).sum()
    ),
    "differences": lambda x: (pt.diff(x) ** 2).sum(),
    "taken": lambda x: (
        (x[np.array([3, 0, 0, -1])] ** 2).sum() + (matrix(x)[:, np.array([1, 1, -4])] ** 2).sum()
    ),
    "taken twice": lambda x: (matrix(x)[np.array([0, 2, 0]), np.array([3, 1, 3])] ** 2).sum(),
    "taken apart": lambda x: (
        x.reshape((2, 3, 2))[np.array([0, 1]), :, np.array([1, 1])] ** 2
    ).sum(),
    "taken in a square": lambda x: (matrix(x)[np.array([[0, 1], [2, 2]])] ** 2).sum(),
    "added at": lambda x: (pt.zeros(4)[np.array([3, 0, 3])].inc(x[:3] ** 2) ** 2).sum(),
    "set at": lambda x: (pt.zeros(4)[np.array([3, 0])].set(x[:2]) ** 2).sum(),
    "products": lambda x: (
        (matrix(x) @ x[:4]).prod()
        + (x[:3] @ matrix(x)).sum() ** 2
        + x @ x
        + (matrix(x) @ matrix(x).T).sum()
    ),
    "many products": lambda x: ((x.reshape((2, 3, 2)) @ x.reshape((2, 2, 3))) ** 2).sum(),
    "lengths": lambda x: x.sum() / x.shape[0] + matrix(x).shape[1] * x[0],
    "same in two places": lambda x: (pt.exp(x / 50) * pt.exp(x / 50)).sum() + (x * x).sum(),
    "ranges": lambda x: (x * pt.arange(12)).sum() + (matrix(x)[:3, :3] * pt.eye(3)).sum(),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_operations_on_arrays(name: str) -> None:
    agree(ARRAYS[name], SMALL)


@pytest.mark.parametrize("kind", ["float64", "float32", "int64", "int32", "int8", "uint8", "bool"])
def test_data_of_every_type(kind: str) -> None:
    counts = np.array([3, 0, 1, 7, 2, 5, 0, 1, 1, 4, 6, 2])
    agree(lambda x, given: (x * given).sum() + (x[:4] ** 2 / (given[:4] + 1)).sum(),
          SMALL, given=counts.astype(kind))  # fmt: skip


def test_whole_numbers_divide_as_in_python() -> None:
    numbers = np.array([7, -7, 7, -7, 0, 5, 9, -1, 1, 2, 3, 4])
    by = np.array([2, 2, -2, -2, 3, 5, -4, 7, 1, -1, 2, 3])
    agree(
        lambda x, a, b: (x * (a // b) + x * (a % b) * 0.1 + x * -abs(a)).sum(),
        SMALL,
        a=numbers,
        b=by,
    )


def test_indices_are_data_and_checked() -> None:
    """An index outside is no density; the sampler then takes another step."""
    places = np.array([0, 3, 3, -1])
    agree(lambda x, of: (x[of] ** 2).sum() + (x[:4] * matrix(x)[0][of]).sum(), SMALL, of=places)
    with compiler_flags():
        model = model_of(lambda x, of: (x[of] ** 2).sum(), of=np.array([0, 12]))
        assert compiled_value(model, X)[0] == 1


def test_no_density_is_told_from_one() -> None:
    from pytensor.raise_op import Assert

    with compiler_flags():
        model = model_of(lambda x: pt.log(x).sum())
        assert compiled_value(model, np.abs(X) + 0.1)[0] == 0
        assert compiled_value(model, X)[0] in (3, 4)
        checked = Assert("no")
        model = model_of(lambda x: checked(x, pt.all(x > 0)).sum())
        assert compiled_value(model, np.abs(X) + 0.1)[0] == 0
        assert compiled_value(model, X)[0] == 2


def test_no_rows_and_very_many() -> None:
    agree(lambda x, none: (x[:3] * none).sum() + x.sum() + none.sum(), SMALL, none=np.zeros((0, 3)))
    rng = np.random.default_rng(1)
    many = rng.normal(size=(40_000, 12))
    agree(lambda x, rows: -pt.softplus(rows @ x).sum() / 1000, SMALL, rows=many)
    agree(lambda x, rows: (pt.exp(rows * x).sum(1) ** 2).sum() / 1e6, SMALL, rows=many)


def test_what_is_not_lowered_is_sampled_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """A determinant is no loop: nutpie compiles the model, and the data are those of the model."""
    import pymc as pm
    from pytensor.tensor.linalg import det

    from her2bayes.inference.sampling import Sampling

    monkeypatch.setattr(engine, "_by_nutpie", engine._by_nutpie.__wrapped__)

    def model(mean: float) -> Any:
        with pm.Model(coords={"row": ["a", "b"]}) as made:
            centre = pm.Data("centre", np.array([mean, -mean]), dims="row")
            x = pm.Normal("x", centre, 0.1, dims="row")
            pm.Potential("volume", det(pt.diag(pt.exp(x * 0))) * 0)
            pm.Deterministic("twice", 2 * x, dims="row")
        return made

    with compiler_flags():
        for mean in (3.0, 5.0):
            draws, _, _ = engine.sample(model(mean), Sampling(draws=200, tune=200, chains=2))
            assert draws["x"].sel(row="a").mean() == pytest.approx(mean, abs=0.05)
            np.testing.assert_allclose(draws["twice"], 2 * draws["x"])
            assert draws["x"].dims == ("chain", "draw", "row")


def test_a_wrong_density_is_found_before_it_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is lowered is compared with PyTensor's Python mode once, at the start."""
    from her2bayes.inference.scalars import NotLoweredError

    def planned(scale: float) -> Any:
        model = model_of(lambda x: -scale * pt.exp(x / 100).sum())
        return engine._planned(model, engine._start(model))

    with compiler_flags():
        assert planned(2.0).n_dim == len(X)
        monkeypatch.setitem(lowering._NODES, "CAReduce", wrong_sum)
        with pytest.raises(NotLoweredError, match="differs"):
            planned(3.0)


def wrong_sum(writer: Any, node: Any) -> None:
    """The first element in place of the sum."""
    x = writer.array(node.inputs[0])
    writer.arrays[node.outputs[0]] = x.part([0] * len(x.shape))


@pytest.mark.slow
def test_a_long_recurrence_is_lowered() -> None:
    """A loop of Python makes a deep graph: it is computed in pieces, not by recursion."""

    def steps(x: Any) -> Any:
        level = x[0]
        for place in range(40):
            level = pt.tanh(level * 0.9 + x[place % 12] * 0.1)
        return level

    with compiler_flags():
        model = model_of(steps)
        value = compiled_value(model, SMALL)[1]
    level = SMALL[0]
    for place in range(40):
        level = np.tanh(level * 0.9 + SMALL[place % 12] * 0.1)
    assert value == pytest.approx(level)


def test_threads_share_a_density(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arrays are in memory of the call's own: chains at once are those one after the other."""
    from her2bayes.inference.sampling import Sampling

    monkeypatch.setattr(lowering, "_ON_STACK", 0)
    with compiler_flags():
        model = model_of(lambda x: -(x**2).sum() - (pt.cumsum(x) ** 2).sum())
        draws = [
            engine.sample(model, Sampling(draws=200, tune=200, chains=4), cores=cores)[0]
            for cores in (1, 2)
        ]
    assert draws[0].identical(draws[1])
