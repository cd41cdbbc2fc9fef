"""``python -m pipeline.training ORDER.json``: a package, so that readers do not import it again.

Children that read DICOM import the main module of the program, unless it is that of a package
(see ``pipeline.dicom.processes``); this one would bring torch into every one of them.
"""

import sys

from pipeline.training.process import main

sys.exit(main(sys.argv[1:]))
