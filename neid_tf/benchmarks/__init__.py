"""Speed and memory, as ratios within one run: what is compared is timed in turns."""
