"""One path from pixels to enhanced pixels, whole or in tiles, in any runtime."""
