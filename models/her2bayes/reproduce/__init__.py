"""A study end to end: families, page, provenance, replay."""
