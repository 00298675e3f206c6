"""Transition between primary tumour and recurrence, from pairs of readings or printed facts."""
