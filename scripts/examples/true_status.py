"""True HER2 status behind fallible readings: what change and survival by class as read hide.

First `bash scripts/run example_cohort --out example`: readings as pathologists write them, with a
column map, and follow-up.
"""

# %% Patients with two readings and follow-up from recurrence
import her2bayes as hb

patients = hb.read_patients("example", map="example/map.toml")

# %% One model of assay, change and survival; a table of two readings of the same tumours joins it
twice = [[43, 7, 0], [6, 52, 1], [0, 1, 20]]
fit = hb.fit_joint(patients, time="os", agreement={"second reader": twice}, quick=True)
print(fit)

# %% How much of the observed change is change, and how far readings dilute a hazard ratio
by = "hazard_ratio[os ; {}: positive vs zero]"
for asked in ("read_discordance[]", "true_discordance[]", by.format("read"), by.format("her2"),
              "dilution[os ; her2: positive vs zero]"):  # fmt: skip
    low, middle, high = fit.draws(asked).quantile([0.025, 0.5, 0.975]).values
    print(f"{asked}: {middle:.2f} ({low:.2f} to {high:.2f})")

# %% What a pair of readings says of the tumour, and whom to re-biopsy
print(fit.true_class("zero", "low"))
print(fit.decisions(thresholds=(0.2,), tilts=(1.0,)).round(2).to_string())

# %% What tells error from change: the prior, the readings, survival
print(fit.identified().T)
