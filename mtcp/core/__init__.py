"""What every other room stands on: errors, files, hashing, randomness, tasks, configuration and plug-ins."""
