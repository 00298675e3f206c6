"""The methods paragraph: what was done to the printed numbers, and what they leave open."""

from __future__ import annotations

from collections.abc import Sequence

_COMMON = (
    "Published numbers are kept as printed. Reproduced numbers follow from other printed numbers "
    "by arithmetic or by the named classical method. Posterior numbers come from a Bayesian model "
    "of printed counts; they are medians with 95 % equal-tailed intervals, and the same quantity "
    "under the prior stands beside them. Contraction is one minus the ratio of posterior to prior "
    "variance: 0 where the data taught nothing, 1 where they taught everything.",
    "A posterior is not a check of the paper. Where it rests on the very counts a published "
    "number was computed from, agreement is expected; the difference between the two is the "
    "effect of pooling and of the prior.",
    "Printed margins do not determine how characteristics combine in the same patient, and a "
    "printed test does not determine the patients behind it. Such rows are not checkable, and "
    "their notes say what would be needed. A match of method or estimator means that the printed "
    "digits are compatible with it, not that it was used.",
)

_OF_FAMILY = {
    "distribution": (
        "Classical shares carry Wilson intervals; the tables of the section add Clopper-Pearson "
        "intervals and Goodman's intervals, which hold for all classes of a row together. "
        "Differences of shares carry Newcombe's interval (method 10). A printed P value of an "
        "association is answered by differences of shares with the probability of their sign, not "
        "by a second P. Cramér's V is shown with its interval; it cannot be below 0 and is biased "
        "upwards, so a small V is no evidence of association."
    ),
    "transition": (
        "Tables of primary against recurrence are printed in part. The analysis of transitions "
        "weighs every whole-number table that agrees with all printed facts; what these tables "
        "share is determined, the rest is bounded by them and filled in by the prior, and its "
        "rows are marked implied."
    ),
    "response": (
        "Response rates of subgroups come from a hierarchical model with robust exchangeability "
        "(EXNEX), single shares of patients from one binomial each with a uniform prior. Rates "
        "with outside data are computed by quadrature under each named choice of borrowing, as "
        "readings of the same rate; their operating characteristics are exact sums over all "
        "outcomes."
    ),
    "adverse_events": (
        "Rates of adverse events are shrunken within body systems, the severe ones as a share of "
        "all; the rate of any event at all is a binomial of its own, because counts by event do "
        "not say which events meet in one patient."
    ),
}

QUICK = (
    "Quick run: fewer draws and chains than the standard run. The numbers show that everything "
    "works; do not quote them."
)


def methods(families: Sequence[str], quick: bool) -> tuple[str, ...]:
    """Paragraphs for a report that holds these families."""
    own = tuple(_OF_FAMILY[name] for name in families if name in _OF_FAMILY)
    return (*_COMMON, *own, *((QUICK,) if quick else ()))
