"""Printed number against printed number, and against every plausible method."""
