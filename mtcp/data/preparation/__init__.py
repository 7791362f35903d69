"""From what people have to a data set that a benchmark can use: fetched, imported, checked, derived."""
