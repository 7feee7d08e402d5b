"""Stand-ins for the services Hygate talks to: part of the product, used by the demo and by the tests alike.

They import nothing of Django or of Hygate's other rooms: what they know about a service stands in the service's
own documentation, so that a mistake in the client cannot be repeated here.
"""
