"""Files that outlive a crash: written whole or not at all, and known again."""
