"""The lab: the book's own algebra, traced into what a browser runs, and the page around it."""
