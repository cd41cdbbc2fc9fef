"""From checked headers to voxels, in processes of their own."""
