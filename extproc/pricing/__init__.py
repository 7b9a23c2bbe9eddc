"""What an exchange costs: prices by provider and model, and tokens where nobody counted them."""
