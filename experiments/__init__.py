"""Programs that make the tables and figures again, and their recorded results."""
