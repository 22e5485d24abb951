"""Raw leads: sources read, providers asked and paid, answers kept, people told apart."""
