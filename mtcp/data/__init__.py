"""Data: rendering, layouts on disk, import, augmentation and loading."""
