"""Where files come from: a folder, an archive, a DICOMDIR, a bucket."""
