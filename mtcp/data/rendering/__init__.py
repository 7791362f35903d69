"""The rendered data sets: a ray caster and its scenes."""
