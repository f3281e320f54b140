"""What administrators configure: certificates, key managers, key servers and key stores."""
