"""One run's training: the loop and the losses."""
