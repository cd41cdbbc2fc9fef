"""Typed tables, units of work, queries and the audit chain. Imports nothing else of ours."""
