"""Data sets: rendered, read in the layouts on disk, imported and checked, loaded as batches."""
