"""Metrics, one file per family: counts per image, merged by concatenation, computed from the counts alone.

The statistics and what is computed from them are NumPy; torch is imported only inside what reads predictions, so
that tables can be recomputed without it.
"""
