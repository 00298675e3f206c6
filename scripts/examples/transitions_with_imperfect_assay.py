"""HER2 status from primary to recurrence, when the assay misreads some of both.

First `bash scripts/run example_cohort --out example`: readings as pathologists write them, with a
column map that says how scores become classes.
"""

# %% Paired readings; a doubtful one is a set of classes, never a guess
import her2bayes as hb

patients = hb.read_patients("example", map="example/map.toml")
print(patients)

# %% Readings as they are, and the true classes behind them
fit = hb.fit_transitions(patients, by="hr_status", assay=True, quick=True)
print(fit)

# %% How much of the observed change is change?
observed, true = fit.draws("discordance[]"), fit.draws("true_discordance[]")
for name, draws in {"read differently": observed, "truly changed": true}.items():
    low, middle, high = 100 * draws.quantile([0.025, 0.5, 0.975]).values
    print(f"{name}: {middle:.0f} % ({low:.0f} to {high:.0f})")

# %% Of the pairs that are read differently, how many did not change?
same = fit.draws("unchanged_given_observed_change[]")
print(f"misread, not changed: {100 * float(same.median()):.0f} % of them")

# %% Whom to re-biopsy, by readings and by true classes
for true in (False, True):
    print(fit.decisions(true=true, thresholds=(0.2,), tilts=(1.0,)).round(2).to_string())
