"""Forward passes: activations are captured and handed to statistics."""
