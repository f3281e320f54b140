"""ONTAP's query language: fields, filters, orders."""
