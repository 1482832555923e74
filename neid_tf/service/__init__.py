"""The network as a service over HTTP: a front that answers, and processes that compute."""
