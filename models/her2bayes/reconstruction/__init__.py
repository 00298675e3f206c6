"""From curves, summaries and margins back to patients and tables."""
