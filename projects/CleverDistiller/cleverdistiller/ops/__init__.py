"""Pure tensor functions: no mm* import, any device, nothing registered."""
