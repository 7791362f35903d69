"""Turning runs into tables: statistics, comparisons, claims and verification."""
