"""Several studies in one model: shares, transitions, effects, and what a new centre sees."""
