"""Networks, and ways to run them, that published bundles carry as code and MONAI does not have.

Each is written here from its paper. Parameters have the names and shapes of the published weights.
"""
