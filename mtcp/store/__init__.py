"""The grid and the run store: plan, keys, records, integrity, tuning, GPU slots."""
