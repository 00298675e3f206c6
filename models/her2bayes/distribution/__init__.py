"""HER2 status distribution: models, draws, classical answers, figures, section, sensitivity."""
