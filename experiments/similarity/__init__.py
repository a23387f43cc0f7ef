"""Features of images, their nearest neighbours, Figures 15 and 16, why a net says what it says."""
