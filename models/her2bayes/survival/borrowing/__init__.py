"""Survival that borrows from patients elsewhere, and how far they count."""
