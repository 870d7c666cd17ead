"""A session in a browser, by a share's link: a gateway, in a process that somebody starts for it.

It serves the page, and ends the session's encryption on the visitor's behalf.
"""
