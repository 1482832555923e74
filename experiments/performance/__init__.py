"""What is measured of the speed, and of the memory that it takes."""
