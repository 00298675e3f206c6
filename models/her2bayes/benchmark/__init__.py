"""Time and memory of the workbench beside other tools."""
