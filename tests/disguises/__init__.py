"""Programs rewritten so that they do the same in another shape: what is found must not depend on the shape."""
