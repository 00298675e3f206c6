"""Models, one a file: equations, default priors, and a function that builds the graph."""
