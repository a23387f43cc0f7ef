"""Feature vectors of image collections, and what is near to what in them."""
