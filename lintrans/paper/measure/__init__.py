"""What is measured on trained problems, each through the store."""
