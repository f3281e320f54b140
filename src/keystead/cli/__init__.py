"""The command line. Heavy imports stand inside functions, so that it starts quickly; REST goes through http.client."""
