"""The programs that are an agent's tools; each is run as a file, in a process of its own."""
