"""Data sets: rendering, reading layouts on disk, import and checks, loading as batches."""
