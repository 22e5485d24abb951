"""What recipients do: recorded, judged, answered for, and handed to sales."""
