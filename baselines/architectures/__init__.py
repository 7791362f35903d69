"""Architectures that MT-CP is compared with, one per file."""
