"""True HER2 status behind fallible readings: assay, transition and survival in one model."""
