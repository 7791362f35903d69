"""Scene presets of the renderer, one file each: what stands where, of which class and material."""
