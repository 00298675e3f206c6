"""Bayesian workbench for HER2 status, its transitions and survival in breast cancer."""

__version__ = "0.1.0"
