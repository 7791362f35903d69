"""From tables to HTML and LaTeX: nothing is computed here."""
