"""Starting and ending a Ray of our own on this machine: loopback only, token on, nothing left behind."""
