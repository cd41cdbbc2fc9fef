"""The tables: every name that a configuration may use, and what it stands for."""
