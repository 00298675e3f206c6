"""What model files share: priors, nested levels, labelled dims."""
