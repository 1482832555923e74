"""What every part of the package may use: files, configuration fields, libraries."""
