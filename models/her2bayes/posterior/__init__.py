"""Derived quantities: pure xarray over draws."""
