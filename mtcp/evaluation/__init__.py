"""Evaluation of a run: metrics, per-image statistics and prediction sheets."""
