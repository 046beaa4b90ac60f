"""Building blocks every service is made of."""
