"""Turning the losses of several tasks into one update: the interface of weighting schemes, and LPS, MT-CP's scheme."""
