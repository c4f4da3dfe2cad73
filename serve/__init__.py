"""The HTTP edge: surfaces, authentication, deployment, command line."""
