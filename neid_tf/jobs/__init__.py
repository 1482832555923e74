"""Many pictures: which file becomes which, where they are, and how they are done side by side."""
