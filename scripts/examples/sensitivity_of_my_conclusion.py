"""Does my conclusion survive other priors, models and readings of the data?

First `bash scripts/run example_cohort --out example`.
"""

# %% A conclusion is a statement on an estimand
import her2bayes as hb

fit = hb.fit_survival(
    "example/patients.csv",
    time="os_months",
    event="os_event",
    by={"her2": ["zero", "low", "positive"]},
    quick=True,
)
conclusion = "hazard_ratio[os ; her2: positive vs low] < 1"
below = fit.draws("hazard_ratio[os ; her2: positive vs low]") < 1
print(f"P({conclusion}) = {float(below.mean()):.3f} as analysed")

# %% Each choice changed alone: priors by reweighting, models and cuts by refitting
found = hb.sensitivity(fit, [conclusion], surfaces=False, quick=True)
print(found)
print(found.frame.head(12))

# %% Prior and likelihood scaled by a power: where the data are weak, ArviZ says so
import arviz as az  # noqa: E402

print(az.psense_summary(fit.tree))
