"""The architectures that MT-CP is compared with, one per file."""
