"""Models, one a file: equations, default priors, and a function that builds the graph."""

MODELS = {
    "her2_distribution": "her2bayes.bayes.her2_distribution",
    "her2_distribution_dirichlet": "her2bayes.bayes.her2_distribution_dirichlet",
    "her2_distribution_ordered": "her2bayes.bayes.her2_distribution_ordered",
}
"""Modules of the models by name; importing this table imports none of them."""
