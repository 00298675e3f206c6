"""Patient files, their column maps and their curves."""
