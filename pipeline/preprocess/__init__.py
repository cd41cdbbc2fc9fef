"""Classical image steps by name: geometry, intensities, filters, regions. A chain can go back."""
