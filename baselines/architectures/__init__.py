"""Architectures that MT-CP is compared with, one a file."""
