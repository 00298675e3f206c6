"""Printed numbers and curves back to patients."""
