"""Evidence table, figures, text and the page."""
