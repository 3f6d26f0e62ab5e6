"""What the simulated API keeps."""
