"""Results as DICOM objects that lie on their source to the voxel."""
