"""A prior of one's own, and two models of one's own beside ours.

First `bash scripts/run example_cohort --out example`. The models are files beside this one.
"""

# %% A prior says in clinical units what it means
from pathlib import Path

import pandas as pd

import her2bayes as hb

here = Path(__file__).parent
sceptical = hb.prior("Normal", mu=0.0, sigma=0.2, means="hazard ratio 1, 95 % between 0.68 and 1.5")
asked = ["hazard_ratio[os ; her2: positive vs low]"]
columns = ["estimand", "posterior_median", "posterior_lower", "posterior_upper", "model"]
choices = {"time": "os_months", "event": "os_event", "by": {"her2": ["zero", "low", "positive"]}}
ours = hb.fit_survival(
    "example/patients.csv", **choices, priors={"log_hazard_ratio": sceptical}, quick=True
)
print(ours)

# %% A log-normal baseline: checked, fitted, and asked the same question
other = hb.fit_survival(
    "example/patients.csv", **choices, model=here / "lognormal_survival.py", quick=True
)
print(pd.concat([ours.estimates(asked), other.estimates(asked)])[columns])
print(f"expected log predictive density: {ours.elpd.elpd:.1f} ours, {other.elpd.elpd:.1f} other")

# %% HER2 classes with a trend over years
years = pd.DataFrame({"year": ["2019"] * 3 + ["2020"] * 3 + ["2021"] * 3 + ["2022"] * 3})
years["her2"] = ["zero", "low", "positive"] * 4
years["n"] = [60, 55, 25, 52, 61, 24, 45, 70, 26, 41, 74, 27]
trend = hb.fit_distribution(years, by="year", model=here / "distribution_trend.py", quick=True)
print(trend.estimates(["share_difference[her2=low ; year: 2022 vs 2019]"])[columns])
