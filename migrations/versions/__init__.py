"""One module a revision, oldest first; each can go up and down on a filled database."""
