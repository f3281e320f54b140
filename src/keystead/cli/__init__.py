"""The command line. Heavy imports are inside functions, so that it starts quickly. REST calls use http.client."""
