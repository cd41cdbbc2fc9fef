"""De-identification by DICOM PS3.15 Annex E: what leaves the house, and the way back."""
