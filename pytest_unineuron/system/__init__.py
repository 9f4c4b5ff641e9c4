"""The machine, the process and the file system."""
