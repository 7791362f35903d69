"""One run's evaluation: metrics, per-image statistics and prediction sheets."""
