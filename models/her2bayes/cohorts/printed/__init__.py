"""What a paper prints of survival, as a chain over cohorts takes it."""
