"""A Flower app: any federated method of sansdata."""
