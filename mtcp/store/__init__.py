"""The grid and the run store: plan, keys, records, integrity, tuning and GPU slots."""
