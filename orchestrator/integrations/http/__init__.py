"""HTTP/1.1 as a client: what goes over the wire, connections, and the transport made of them."""
