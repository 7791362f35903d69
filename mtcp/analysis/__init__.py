"""From runs to tables: statistics, comparisons, claims and verification."""
