"""Sources in, labelled sufficient statistics out."""
