"""A second, plain implementation, and its comparison with the library."""
