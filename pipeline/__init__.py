"""Pure imaging and learning: DICOM in, volumes, models, results, DICOM out, training.

Knows no database, queue, settings, clock or environment: they arrive as arguments.
"""
