"""Drift: whether what comes in, and what is said of it, is still distributed as it was.

Pure statistics over plain values; where they come from is not its concern.
"""
