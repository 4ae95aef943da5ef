"""Photos, pyramids and canvases; knows nothing of networks."""
