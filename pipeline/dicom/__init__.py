"""DICOM in and DICOM out. The only rooms of the pipeline that touch image files."""
