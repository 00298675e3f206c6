"""Classical methods, each naming its exact variant."""
