"""The networks: trunk, per-task decoders, coherence fusion, trace-back and heads. Import the concrete module."""
