"""Sampling, convergence verdict, store of fits."""
