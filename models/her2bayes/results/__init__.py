"""What every fitted analysis is: an object that answers, prints, compares, is saved and read."""
