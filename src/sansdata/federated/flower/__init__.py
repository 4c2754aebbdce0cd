"""The same algorithms as a Flower app. flwr is imported inside the functions, when an app is made."""
