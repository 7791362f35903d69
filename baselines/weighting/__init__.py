"""Published weighting schemes, one per file, written against the public interface in `mtcp.api`."""
