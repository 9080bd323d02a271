"""What the service answers over plain HTTP; `routes.add_routes` puts it into an application."""
