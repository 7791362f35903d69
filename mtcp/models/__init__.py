"""Networks: encoders, decoders, coherence fusion, trace-back, heads, and their weights."""
