"""When independently started chains over cohorts are said to agree: laxer than a fit's standard.

Enough for the widths that are shown, not for the last digit; ``inference.standards`` holds what a
fit must reach to be called converged.
"""

LARGEST_RHAT, LEAST_ESS = 1.05, 50
CHAINS_AGREE, CHAINS_DISAGREE = "chains agree", "chains disagree"
