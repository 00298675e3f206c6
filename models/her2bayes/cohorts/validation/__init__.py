"""How well reconstruction recovers cohorts whose patients are known."""
