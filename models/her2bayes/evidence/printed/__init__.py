"""Studies as their papers print them."""
