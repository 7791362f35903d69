"""Rendering tables as HTML and LaTeX; no results are computed here."""
