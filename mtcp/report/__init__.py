"""Tables, charts and reports: tidy CSVs computed from the run store, and HTML and LaTeX that render them."""
