"""``python -m pipeline.training ORDER.json``: a package, so that readers do not import it again.

Children that read DICOM import the main module of the program, unless it is that of a package
(see ``pipeline.dicom.processes``); this one would bring torch into every one of them.
"""

import gc
import sys


def main() -> int:
    """Train by the order that the first argument names."""
    gc.disable()  # it would look through torch and MONAI again and again while they load
    from pipeline.training import process

    gc.freeze()
    gc.enable()
    return process.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
