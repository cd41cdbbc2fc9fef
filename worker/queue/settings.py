"""The settings: one frozen tree, read once at the edge and passed down."""

from __future__ import annotations

import os
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """All settings. Environment: ``NIGHTSHIFT_`` + the name; ``.env`` and secret files too.

    Without ``database_url`` and ``broker_url`` the embedded services under ``home`` are used.
    """

    model_config = SettingsConfigDict(
        env_prefix="NIGHTSHIFT_",
        env_file=".env",
        frozen=True,
        extra="ignore",
        secrets_dir=next((d for d in ("/run/secrets",) if os.path.isdir(d)), None),  # noqa: PTH112
    )

    home: Path = Field(default_factory=lambda: Path.home() / ".nightshift")
    database_url: SecretStr | None = None
    broker_url: SecretStr | None = None
    store: Path | None = Field(default=None, description="default: home/store")
    deidentify_key_file: Path | None = Field(
        default=None, description="default: home/deidentify.key, made when first asked for"
    )

    lane: str = Field(default="shared", description="set by `run` for its own processes")
    lease: timedelta = timedelta(seconds=30)
    resend_after: timedelta = timedelta(seconds=8)
    window: int = Field(default=8, ge=1, description="wake-ups outstanding ahead of the workers")
    max_attempts: int = Field(default=3, ge=1)
    job_deadline: timedelta = timedelta(minutes=30)
    stop_grace: timedelta = Field(
        default=timedelta(seconds=10), description="running jobs may finish for so long at a stop"
    )

    inference_processes: int = Field(default=0, ge=0, description="0 = one per device")
    jobs_in_flight: int = Field(default=3, ge=1, description="per inference process")
    device: str = Field(
        default="auto", description="auto, cpu, cuda:0; a training learns on all of cuda:0,cuda:1"
    )
    threads: int = Field(default=0, ge=0, description="torch threads per process; 0 = cores share")
    model_memory: int = Field(
        default=0,
        ge=0,
        description="bytes of weights a process keeps loaded; 0 = a quarter of its GPU's memory, "
        "an eighth of the machine's without one",
    )
    sums_memory: int = Field(
        default=0,
        ge=0,
        description="bytes that sums of windows of one study may take; where they would take more, "
        "windows are run again; 0 = a quarter of the memory, divided by the processes",
    )
    decode_timeout: timedelta = timedelta(seconds=120)
    decode_memory_bytes: int = 8 * 2**30
    max_pixels: int = Field(default=2**31, description="pixels of one volume, before decoding")

    api_host: str = "127.0.0.1"
    api_port: int = 8080
    api_keys_required: bool = True
    flower_host: str = "127.0.0.1"
    flower_port: int = 5555
    flower_user: str = "nightshift"
    flower_password: SecretStr | None = None
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(default=0, description="of each worker; 0 = a free port, logged")
    source_roots: tuple[Path, ...] = Field(
        default=(), description="folders that POST /v1/batches may read; empty = none over HTTP"
    )
    source_buckets: tuple[str, ...] = Field(
        default=(),
        description="s3://bucket/prefix that POST /v1/batches may read; empty = none over HTTP",
    )
    disk_reserve_bytes: int = Field(default=512 * 2**20, description="below it no job is claimed")
    drift_every: timedelta = Field(
        default=timedelta(hours=1), description="between two looks at the drift of an analysis"
    )
    drift_window: int = Field(
        default=200, ge=1, description="jobs of each of the windows that are compared"
    )
    drift_reports_kept: int = Field(
        default=1000, ge=1, description="looks at the drift of each analysis; the oldest go"
    )
    prepared_bytes: int = Field(
        default=32 * 2**30,
        ge=0,
        description="of prepared cases that trainings share; the least used go; 0 = none is shared",
    )
    training_files_kept: timedelta = Field(
        default=timedelta(days=30),
        description="event files of ended trainings, and the folders of those without a product",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @cached_property
    def database(self) -> str:
        """URL of the database in force."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'nightshift.db'}"

    @cached_property
    def broker(self) -> str:
        """URL of the broker in force; for the embedded one, the unix socket under ``home``."""
        if self.broker_url is not None:
            return self.broker_url.get_secret_value()
        return f"redis+socket://{self.home / 'redis' / 's.sock'}"

    @cached_property
    def store_path(self) -> Path:
        """Folder of bundles and artifacts."""
        return self.store if self.store is not None else self.home / "store"

    @cached_property
    def deidentify_key_path(self) -> Path:
        """File of the key that de-identified copies are made with."""
        named = self.deidentify_key_file
        return named if named is not None else self.home / "deidentify.key"
