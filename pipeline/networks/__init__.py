"""Networks, and ways to run them, that neither MONAI nor torchvision has.

Each is written here from its paper. What published bundles carry as code has parameters with the
names and shapes of the published weights. Of torchvision's own there are builders for any number of
channels.
"""

import pipeline.models  # noqa: F401, lets torchvision be imported beside any torch
