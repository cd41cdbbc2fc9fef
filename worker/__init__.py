"""The Celery app and what runs in workers: tasks, use cases, leases, devices, artifacts."""
