"""Metrics, one file per family: statistics per image, merged by concatenation; metrics depend only on these.

Statistics and metrics use NumPy. torch is imported only in functions that read predictions, so that tables can be
recomputed without it.
"""
