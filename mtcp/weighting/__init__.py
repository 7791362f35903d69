"""What turns the losses of several tasks into one update: the scheme interface, and LPS, the scheme of MT-CP."""
