"""Preparing data sets that benchmarks can use: fetching, importing, checking, deriving."""
