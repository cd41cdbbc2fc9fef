"""``python -m worker decoders``: which transfer syntaxes this machine reads, as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict


def say(words: argparse.Namespace) -> int:
    """Write the table of decoders to stdout."""
    from pipeline.dicom.pixels import decoders

    del words
    json.dump([asdict(row) for row in decoders.table()], sys.stdout)
    return 0
