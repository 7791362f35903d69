"""Weighting schemes of the field, one a file, written against `mtcp.weighting.base` alone."""
