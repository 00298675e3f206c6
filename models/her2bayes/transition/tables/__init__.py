"""Tables of which only some sums are printed: every table that meets them, its posterior."""
