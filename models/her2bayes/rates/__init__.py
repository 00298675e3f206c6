"""Response rates and adverse events: shares of patients in one or two arms."""
