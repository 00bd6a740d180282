"""The web application: JSON API, pages and the live stream."""
