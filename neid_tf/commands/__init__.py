"""The ``neid`` program: thin commands over the library."""
