"""rtnetlink, the few messages that a call per pod needs: messages.py knows their bytes, socket.py moves them."""
