"""Labels that others drew, from DICOM objects onto the grid of a volume."""
