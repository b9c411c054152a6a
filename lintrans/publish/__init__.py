"""The publisher of the book: chapters as pairs, executed once for what they depend on, built as a site."""
