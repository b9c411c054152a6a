"""One paper's material: its problems, what is measured on them, the claims, and how they are judged."""
