"""A paper beside a model of its tables: Published | Reproduced | Posterior.

Any editor with notebook cells opens this file as one; `data/README.md` says how to enter a paper.
"""

# %% A paper is data: every printed number with its place
import arviz as az

import her2bayes as hb

paper = hb.load_study("shi2023")
print(hb.audit(paper))  # contradictions among its own numbers

# %% Shares of HER2 classes by hormone-receptor status
fit = hb.fit_distribution(paper, by="hr_status", quick=True)  # without quick for a paper
print(fit)
print(az.summary(fit.tree, var_names=["share"], ci_prob=0.95, ci_kind="eti"))

# %% Its numbers beside the printed ones
table = hb.compare(paper, fit)
print(table)

# %% A question of one's own, from draws (chain, draw)
low = "share[her2=low | hr_status={}]"
more = fit.draws(low.format("positive")) - fit.draws(low.format("negative"))
print(f"P(low more frequent where HR-positive) = {float((more > 0).mean()):.3f}")

# %% A figure
fit.figures.shares("hr_status").savefig("shares.png", dpi=150)
