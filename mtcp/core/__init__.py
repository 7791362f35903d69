"""The foundation of all other packages: errors, files, hashing, randomness, tasks, configuration and plug-ins."""
