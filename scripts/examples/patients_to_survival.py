"""From a file of patients to survival by HER2 status.

First `bash scripts/run example_cohort --out example` for the invented patients, or your own file.
"""

# %% The file, as it is: nothing is repaired or guessed
import her2bayes as hb

patients = hb.read_patients("example/patients.csv")
print(patients)

# %% Hierarchical piecewise-exponential hazards
fit = hb.fit_survival(
    patients,
    time="os_months",
    event="os_event",
    by={"her2": ["zero", "low", "positive"], "hr_status": None},
    times=[24, 60],
    quick=True,  # without it for a paper
)
print(fit)

# %% Estimands: rows with 95 % intervals, or draws
asked = [
    "hazard_ratio[os ; her2: positive vs low]",
    "median[os | her2=low]",
    "survival[os | her2=positive @ 60 months]",
]
print(fit.estimates(asked)[["estimand", "posterior_median", "posterior_lower", "posterior_upper"]])
months = "rmst[os | her2={} @ 60 months]"
gain = fit.draws(months.format("positive")) - fit.draws(months.format("low"))
print(f"months gained by 60: {float(gain.median()):.1f}, P(> 0) = {float((gain > 0).mean()):.3f}")

# %% The classical numbers of the same patients, and the curves
print(fit.classical()[["estimand", "reproduced", "method"]].head(6))
fit.figures.survival("her2").savefig("survival.png", dpi=150)
