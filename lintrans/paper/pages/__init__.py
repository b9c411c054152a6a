"""Tables and numbers of the chapters' pages, one module a chapter, named like it."""
