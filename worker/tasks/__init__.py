"""The Celery tasks: thin. They carry an id to a use case and let no error through.

Each role imports its own module: what scans and what watches trainings needs no torch.

Every broad ``except`` of the workers is in this folder, for two reasons: an error that reaches
Celery is printed with its message, which may quote a header or a path; and a MemoryError that
reaches a thread of its pool blocks that thread for ever.
"""
