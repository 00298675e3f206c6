"""Figures, tables and text of a report, and the page made of them."""
