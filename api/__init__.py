"""Doors: HTTP and the command line. Parse, call, answer. Never imports torch or the pipeline."""
