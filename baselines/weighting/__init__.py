"""Weighting schemes of the field, one per file, written against `mtcp.weighting.base` alone."""
