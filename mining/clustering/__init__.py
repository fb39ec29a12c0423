"""Identity means, and subspaces of look-alikes made of them."""
