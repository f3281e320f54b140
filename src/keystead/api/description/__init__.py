"""The API's description, made from the declarations: the OpenAPI document, its page and the reference page."""
