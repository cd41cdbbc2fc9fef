"""What ``nightshift doctor`` looks at. Each check is a function that yields findings.

Heavy libraries are never imported here: their versions come from package metadata, and what only
torch or the decoders can answer is asked of a child process.
"""

from __future__ import annotations

from collections.abc import Iterator

from api.cli.checks.finding import Finding


def examine() -> Iterator[Finding]:
    """Look at everything, in the order in which one thing needs the other."""
    from api.cli.checks import inference, installation, machine, services
    from api.cli.context import load_settings

    yield from installation.versions()
    settings = load_settings()
    yield from installation.in_force(settings)
    yield from machine.machine(settings)
    yield from services.services(settings)
    yield from inference.devices()
    yield from inference.decoders()
    yield from inference.shipped_models()
