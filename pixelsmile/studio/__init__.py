"""The logic of the app without its page: faces, mixes, renders, sessions, downloads, markup."""
