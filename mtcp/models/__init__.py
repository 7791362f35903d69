"""Networks: encoders, decoders, coherence fusion, trace-back, heads, and pre-trained weights."""
