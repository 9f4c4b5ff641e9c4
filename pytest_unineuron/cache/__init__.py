"""Finished results on disk, and digests of the files and the source that they depend on."""
