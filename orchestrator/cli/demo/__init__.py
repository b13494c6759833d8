"""The demonstration: a story that real models play in a terminal."""
