"""Simulation-based calibration: designs, runs, records."""
