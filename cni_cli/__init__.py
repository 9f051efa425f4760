"""The commands for people: what the same executables do when they are called by hand. Loaded only then."""
