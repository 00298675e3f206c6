"""Piecewise-exponential survival by subgroup."""
