"""Sampling, convergence verdict, store of fits, estimates of draws."""
