"""What a package, a workflow or a base image of somebody else could do to us."""
