"""Bundle configurations as data: read, checked and resolved without running any of their code."""
