"""Several studies in one model: shares, transitions and effects, and what a new centre would see."""
