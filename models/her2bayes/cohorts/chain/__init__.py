"""Markov chain over cohorts of patients that meet the printed numbers."""
