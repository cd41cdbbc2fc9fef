"""The HTTP door: parse, call the records, answer. Light: no torch, numpy, DICOM or pipeline."""
