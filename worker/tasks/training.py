"""Trainings, each in a process of its own."""

from __future__ import annotations

from uuid import UUID

from celery import Celery

from worker import training
from worker.queue import messages
from worker.services import Services
from worker.tasks.edge import edge


def register(app: Celery, services: Services) -> None:
    """Let ``app`` answer for trainings."""

    @app.task(name=messages.RUN_TRAINING)
    def run_training(training_id: str) -> None:
        """Run one training in a process of its own."""
        with edge(messages.RUN_TRAINING, training=training_id):
            training.run(UUID(training_id), services)
