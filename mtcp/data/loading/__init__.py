"""From a data set on disk to augmented batches."""
