"""From the bytes of a file to the facts of its header, or to the reason why not."""
