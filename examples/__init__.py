"""Other people's agents on these environments, each as short as it can be and run by the tests."""
