"""One family an analysis: contracts in, fitted estimates keyed by estimand out."""
