"""One paper's material: its problems, its claims, and how they are judged.

:mod:`.problems` and :mod:`.scales` say what is computed and how much of it, :mod:`.protocol` trains and tunes,
:mod:`.measure` measures what was trained, :mod:`.claims` judges, :mod:`.pages` and :mod:`.figures` show;
:mod:`.second` computes the same again by plain code.
"""
