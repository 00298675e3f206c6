"""One folder for the supplement of a paper: page, tables, figures, fits, and how they were made.

First `bash scripts/run example_cohort --out example`.
"""

# %% Two analyses of the same patients
import her2bayes as hb

patients = hb.read_patients("example/patients.csv")
classes = hb.fit_distribution(patients, by="hr_status", quick=True)
os = hb.fit_survival(
    patients,
    time="os_months",
    event="os_event",
    by={"her2": ["zero", "low", "positive"]},
    quick=True,
)

# %% The report: report.html opens offline; tables/ is for LaTeX, fits/ for load_fit
written = hb.report(
    [classes, os],
    out="supplement",
    title="HER2 status and survival",
)
print(written)

# %% Months later: the fits are read back, checked against their identity, and asked again
for file in sorted(written.folder.glob("fits/*.nc")):
    print(hb.load_fit(file))

# %% A table for the text
rows = os.estimates(["hazard_ratio[os ; her2: positive vs low]", "median[os | her2=low]"])
print(rows[["estimand", "posterior_median", "posterior_lower", "posterior_upper", "convergence"]])
