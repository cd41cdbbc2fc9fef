"""Fuzzing of what meets untrusted bytes first: the header walker and the gate."""
