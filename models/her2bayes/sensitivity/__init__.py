"""Sensitivity of a conclusion: scenarios, their refits and their summary."""
