"""Imported last by the server that children are forked from: what they inherit is warm."""

import gc

from pipeline.dicom.pixels.warm import read_once

read_once()
gc.collect()
# Collecting would touch, and so copy, in every child what it shares with the server.
gc.freeze()
