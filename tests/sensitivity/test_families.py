"""Every axis of the families that sample: the scenario's data, priors and estimands, unsampled."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from her2bayes.distribution import sensitivity as shares
from her2bayes.errors import BadInput
from her2bayes.evidence.patients.follow_up import read_follow_up
from her2bayes.evidence.printed.study import load_study, published_folder
from her2bayes.evidence.printed.tables import conclusions_of
from her2bayes.evidence.simulate import cohort
from her2bayes.inference import densities, engine, structure
from her2bayes.inference.convergence import Diagnostics
from her2bayes.inference.fit import Specification, without_padding
from her2bayes.inference.sampling import Sampling
from her2bayes.sensitivity.target import BASE, Drawn, Target, one_at_a_time, read_drawn, scenario
from her2bayes.sensitivity.worker import identity, key
from her2bayes.survival import sensitivity as survival
from her2bayes.survival.doors import Specification as Question
from her2bayes.transition import sensitivity as change
from her2bayes.transition import sensitivity_pairs as pairs


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(densities, "_PRIOR_DRAWS", 40)


def asked(*texts: str):
    return conclusions_of(
        [
            {"conclusion_id": f"c{k}", "conclusion": text, "locator": "", "note": ""}
            for k, text in enumerate(texts)
        ]
    )


def prior_of(spec: Specification) -> xr.Dataset:
    with engine.compiler_flags():
        return without_padding(densities.prior_draws(spec.model(), 1)[0])


@pytest.fixture(scope="module")
def shi():
    return load_study(published_folder() / "shi2023")


@pytest.fixture(scope="module")
def by_factor(shi) -> dict[str, Target]:
    return {t.data["factor"]: t for t in shares.targets(shi, shi.conclusions)}


def test_tables_of_the_paper_become_targets(by_factor):
    assert list(by_factor) == ["", "hr_status", "site"]  # the type of relapse is that of the site
    assert len(by_factor[""].conclusions) == 2


def test_counts_of_scenarios(by_factor):
    everyone = by_factor[""]
    base = shares.scenario_counts(everyone, BASE)
    assert base.to_numpy().tolist() == [[53, 127, 67]]
    no_cbc = scenario(everyone.axes, {shares.OUT: "relapse_type=CBC"})
    # Table 1: 12, 37 and 17 patients with contralateral cancer
    assert shares.scenario_counts(everyone, no_cbc).to_numpy().tolist() == [[41, 90, 50]]
    fewer_zero = scenario(everyone.axes, {shares.boundary("zero", "low"): 0.1})
    assert shares.scenario_counts(everyone, fewer_zero).to_numpy().tolist() == [[48, 132, 67]]
    more_zero = scenario(everyone.axes, {shares.boundary("zero", "low"): -0.2})
    assert shares.scenario_counts(everyone, more_zero).to_numpy().tolist() == [[78, 102, 67]]
    no_bone = scenario(by_factor["site"].axes, {shares.OUT: "site=bone"})
    left = shares.scenario_counts(by_factor["site"], no_bone)
    assert "bone" not in left["subgroup"]


@pytest.mark.slow
def test_data_and_prior_scenarios_share_a_compiled_model(by_factor):
    with engine.compiler_flags():
        for target in by_factor.values():
            structures = {
                structure.structure(shares.specification(target, of).model())
                for of in [*one_at_a_time(target.axes[:4])[::5], target.widest]
            }
            assert len(structures) == 1


def test_moved_draws_mean_the_same_effects(by_factor):
    """Shares of the transported draws are those of the draws themselves (fixed spread)."""
    from her2bayes.inference.reweight import joint

    target = by_factor["hr_status"]
    wide, base = (shares.specification(target, of) for of in (target.widest, BASE))
    with engine.compiler_flags():
        raw, _ = densities.prior_draws(wide.model(), 1)
    assert base.transport is not None
    moved = base.transport(raw, wide)
    _, before = joint(wide, raw)
    _, after = joint(base, moved)
    np.testing.assert_allclose(before["share"], after["share"], atol=1e-10)


def test_estimands_of_every_choice(by_factor):
    target = by_factor["site"]
    for of in [BASE, *one_at_a_time([a for a in target.axes if a.kind == "structure"])[1:]]:
        spec = shares.specification(target, of)
        found = shares.quantities(target, of, prior_of(spec))
        assert set(found) == set(target.estimands)


def test_what_says_nothing_on_a_contrast_is_set_apart(by_factor):
    receptors, site = by_factor["hr_status"], by_factor["site"]
    ordered = scenario(receptors.axes, {shares.MODEL: "ordered"})
    for conclusion in receptors.conclusions:
        assert "do not fit receptors" in shares.apart(receptors, ordered, conclusion.estimand)
    other = scenario(receptors.axes, {shares.MODEL: "Dirichlet"})
    assert not shares.apart(receptors, other, receptors.conclusions[0].estimand)
    (contrast,) = (c.estimand for c in site.conclusions)  # CBC against DM
    assert not shares.apart(site, scenario(site.axes, {shares.MODEL: "ordered"}), contrast)
    # Table 1: 66 contralateral cancers are all of CBC; 26 to 27 each of 92 are a part of DM
    whole = scenario(site.axes, {shares.OUT: "site=contralateral breast"})
    assert "half or more of relapse_type=CBC" in shares.apart(site, whole, contrast)
    assert not shares.apart(site, scenario(site.axes, {shares.OUT: "site=lung"}), contrast)


@pytest.fixture(scope="module")
def follow_up():
    rng = np.random.default_rng(5)
    groups = {(her2, hr): 60 for her2 in ("zero", "low", "positive") for hr in ("pos", "neg")}
    hazard = {g: [0.02, 0.02, 0.02] for g in groups}
    table = cohort(rng, groups, ["her2", "hr"], [0, 12, 36, 120], hazard)
    by = {"her2": ("zero", "low", "positive"), "hr": ("pos", "neg")}
    return read_follow_up(table, time="months", event="event", by=by)


@pytest.mark.slow
def test_survival_scenarios(follow_up):
    end = follow_up.endpoint
    texts = (
        f"hazard_ratio[{end} ; her2: low vs zero] < 1",
        f"hazard_ratio[{end} | hr=neg ; her2: low vs zero] < 1",
        f"survival[{end} | her2=low @ 24 months] > 0.5",
        f"survival_difference[{end} ; her2: low vs zero @ 24 months] > 0",
        f"rmst_difference[{end} ; her2: low vs zero @ 24 months] > 0",
    )
    target = survival.target(follow_up, Question(), asked(*texts))
    names = {axis.name for axis in target.axes}
    assert {survival.RATIO, survival.CUTS, survival.MODEL, survival.OUT} <= names
    for changes in (
        {},
        {survival.OUT: "her2=positive"},
        {survival.CUTS: "20 of equal length"},
        {survival.MODEL: "nonph"},
    ):
        of = scenario(target.axes, changes)
        found = survival.quantities(target, of, prior_of(survival.specification(target, of)))
        assert set(found) == set(target.estimands)
        assert all(np.isfinite(values).all() for values in found.values())
        assert all(values.dims == ("chain", "draw") for values in found.values())
    gone = scenario(target.axes, {survival.OUT: "her2=zero"})
    found = survival.quantities(target, gone, prior_of(survival.specification(target, gone)))
    assert set(found) == {texts[2].split(" > ")[0]}
    cells = survival.scenario_cells(target, gone)
    assert int(cells["events"].sel(her2="zero").sum()) == 0


def test_half_of_a_contrast_left_out_is_set_apart(follow_up):
    text = f"hazard_ratio[{follow_up.endpoint} ; her2: low vs zero] < 1"
    target = survival.target(follow_up, Question(), asked(text))
    estimand = target.conclusions[0].estimand
    other = scenario(target.axes, {survival.OUT: "her2=positive"})
    assert not survival.apart(target, other, estimand)
    half = scenario(target.axes, {survival.OUT: "hr=neg"})  # 60 of 120 in each class
    assert "half or more of her2=low, zero" in survival.apart(target, half, estimand)


def test_survival_left_out_keeps_the_compiled_model(follow_up):
    target = survival.target(
        follow_up, Question(), asked(f"survival[{follow_up.endpoint} @ 24 months] > 0.5")
    )
    with engine.compiler_flags():
        structures = {
            structure.structure(survival.specification(target, of).model())
            for of in (BASE, scenario(target.axes, {survival.OUT: "hr=neg"}), target.widest)
        }
    assert len(structures) == 1


def test_a_cohort_says_what_it_answers(follow_up):
    with pytest.raises(BadInput, match=r"hazard_ratio.*her2: zero vs low"):
        survival.target(follow_up, Question(), asked("discordance[] > 0.3"))


def test_what_was_drawn_is_read_back():
    """Also where quantities have different numbers of prior draws, as tables of a paper give."""
    run = Diagnostics(4, 5, 0, np.inf)
    shapes = {"discordance[]": ((4, 5), (1, 5)), "transition[a -> b]": ((4, 5), (1, 20))}
    draws = {
        name: tuple(xr.DataArray(np.arange(float(a * b)).reshape(a, b), dims=("chain", "draw"))
                    for a, b in both)
        for name, both in shapes.items()
    }  # fmt: skip
    numbers = {"c0": {"median": 0.5}}
    one = Drawn("m", "refit", draws, run, fit_id="f", numbers=numbers, unfit="no", verdict="yes")
    again = read_drawn(one.tree())
    for name, both in draws.items():
        for before, after in zip(both, again.draws[name], strict=True):
            xr.testing.assert_equal(before, after.drop_vars(list(after.coords)))
    assert (again.fit_id, again.numbers, again.unfit, again.verdict) == ("f", numbers, "no", "yes")


def test_names_of_stored_results_depend_on_everything(by_factor):
    about = identity(by_factor[""], Sampling())
    other = identity(by_factor[""], Sampling(seed=1))
    first = by_factor["hr_status"].axes[0]
    of = scenario([first], {first.name: 0.5})
    names = {
        key(about, BASE, "refit"),
        key(about, of, "refit"),
        key(about, of, "reweight"),
        key(other, BASE, "refit"),
        key(identity(by_factor["hr_status"], Sampling()), BASE, "refit"),
    }
    assert len(names) == 5


@pytest.mark.slow
def test_scenarios_of_pairs(paired):
    texts = (
        "discordance[] > 0.3",
        "transition[zero -> low] > 0.4",
        "gain[low] > 0.1",
        "flow_difference[zero -> low] > 0",
        "discordance[| hr_status=positive] > 0.3",
        "discordance_difference[; hr_status: positive vs negative] > 0",
    )
    everyone, by_receptor = pairs.targets(paired, asked(*texts))
    assert len(everyone.conclusions) == 4
    read = next(axis for axis in everyone.axes if axis.name == pairs.READ)
    assert "IHC 0-1+ read as low" in read.values
    total = int(pairs.scenario_data(everyone, BASE)["counts"].sum())
    no_bone = scenario(everyone.axes, {pairs.OUT: "site=bone"})
    assert int(pairs.scenario_data(everyone, no_bone)["counts"].sum()) == 184 < total == 550

    for target, changes in (
        (everyone, {}),
        (everyone, {pairs.OUT: "site=bone"}),
        (everyone, {pairs.READ: "IHC 0-1+ read as low"}),
        (everyone, {change.ASSAY: 0.5}),
        (by_receptor, {change.SPREAD: 4.0}),
    ):
        of = scenario(target.axes, changes)
        found = pairs.quantities(target, of, prior_of(pairs.specification(target, of)))
        assert set(found) == set(target.estimands)
        assert all(np.isfinite(values).all() for values in found.values())
    with engine.compiler_flags():
        structures = {
            structure.structure(pairs.specification(everyone, of).model())
            for of in (BASE, everyone.widest)
        }
    assert len(structures) == 1


def test_pairs_ask_only_what_pairs_answer():
    class Nobody:
        id = "mine"
        categories = ("zero", "low", "positive")
        factors: dict[str, tuple[str, ...]] = {"hr_status": ("positive", "negative")}  # noqa: RUF012

    with pytest.raises(BadInput, match=r"discordance\[\| hr_status=...\]"):
        pairs.targets(Nobody(), asked("share[her2=low] > 0.5"))  # type: ignore[arg-type]


def test_facts_of_few_tables_are_one_model(shi):
    (target,) = change.targets(shi, shi.conclusions)
    chosen = (
        BASE,
        scenario(target.axes, {change.SCALE: 0.5}),
        scenario(target.axes, {change.CENTRE: 1.0}),
    )
    structures, shift = set(), {}
    for of in chosen:
        spec = change.specification(target, of)
        assert spec is not None
        with engine.compiler_flags():
            structures.add(structure.structure(spec.model()))
        found = change.quantities(target, of, prior_of(spec))
        assert set(found) == set(target.estimands)
        shift[str(of)] = float(found["discordance[]"].mean())
    assert len(structures) == 1
    assert shift["prior log odds of change, shift 1"] > shift["as reported"] + 0.1
    others = ({change.READ: "results"}, {change.ROWS: "Dirichlet(1, ..., 1)"}, {change.ASSAY: 1.0})
    for changes in others:
        assert change.specification(target, scenario(target.axes, changes)) is None
    impossible = change.drawn(target, scenario(target.axes, {change.READ: "results"}), Sampling())
    assert impossible.method == "impossible"
    assert "all.zero_low.results" in impossible.reason
    exact = change.drawn(
        target, scenario(target.axes, {change.ROWS: "Dirichlet(1, ..., 1)"}), Sampling()
    )
    posterior, _ = exact.draws["transition[zero -> low]"]
    # row of 51 patients of whom 25 went to low, Dirichlet(1, 1, 1): Beta(26, 28)
    assert float(posterior.mean()) == pytest.approx(26 / 54, abs=0.005)


@pytest.mark.slow
def test_joint_densities_of_every_family(shi, by_factor, follow_up, paired):
    """Batched joint density and derived variables are those of the model, for all families."""
    from her2bayes.inference.reweight import joint

    end = follow_up.endpoint
    lasting = asked(f"hazard_ratio[{end} ; her2: low vs zero] < 1")
    cases = (
        (shares, by_factor["site"]),
        (change, change.targets(shi, shi.conclusions)[0]),
        (survival, survival.target(follow_up, Question(), lasting)),
        (pairs, pairs.targets(paired, asked("discordance[] > 0.3"))[0]),
    )
    for family, target in cases:
        spec = family.specification(target, target.widest)
        with engine.compiler_flags():
            raw, _ = densities.prior_draws(spec.model(), 1)
            known = densities.log_densities(spec.model(), raw)
        log_joint, derived = joint(spec, raw)
        terms = [array for group in known for array in group.values()]
        total = sum(x.sum([d for d in x.dims if d not in ("chain", "draw")]) for x in terms)
        np.testing.assert_allclose(log_joint, total, rtol=1e-9)
        assert derived.data_vars
        for name, values in derived.items():
            expected = without_padding(raw)[name].transpose(*values.dims)
            np.testing.assert_allclose(values, expected, rtol=1e-7, atol=1e-10)
