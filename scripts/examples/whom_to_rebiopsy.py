"""Whom to re-biopsy: transitions over the published studies, and what the next hospital may expect.

`bash scripts/run studies` lists the studies at hand; patients of one's own join by name.
"""

# %% Studies that print pairs of primary and recurrence: whole tables, coarse ones, tables in part
import her2bayes as hb

names = ["shi2023", "hr2x2_137", "almstedt2023", "miglietta2021", "mets98", "ma2025"]
kind = "primary to recurrence"
fit = hb.synthesise(names, "transition", pairs=kind, quick=True)  # without quick for a paper
print(fit)
print(fit.studies)  # who gave what, who was left out and why

# %% What a new study would find, and how far studies differ
for study in ("average", "new"):
    low, middle, high = 100 * fit.draws(f"transition[zero -> low | study={study}]").quantile(
        [0.025, 0.5, 0.975]
    )
    print(f"zero to low, {study} study: {middle:.0f} % ({low:.0f} to {high:.0f})")

# %% In the units of a decision: number to re-biopsy, net benefit, selection of who was re-biopsied
columns = ["primary", "tilt", "threshold", "per_100", "needed", "net_benefit", "p_worth_it"]
for true in (False, True):  # as read, then of true classes: a change may be a misreading
    table = fit.decisions(true=true, thresholds=(0.1, 0.3), tilts=(1.0, 2.0))
    print(table[columns].round(2).to_string(index=False))

# %% If four in ten recurrences read as zero were HER2-ultralow, and eligible
print(fit.decisions(ultralow=(0.0, 0.4), thresholds=(0.3,), tilts=(1.0,)).round(2).to_string())

# %% One patient, and how large a cohort of one's own must be
print(fit.next_patient("zero"))
print(fit.assurance("transition[zero -> low] > 0.3", sizes=(50, 100, 200, 400)))
