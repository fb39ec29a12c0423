"""Sources of labelled images, and the manifest made of them."""
